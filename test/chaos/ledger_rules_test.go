// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"encoding/json"
	"strconv"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// book is a ledger that a test writes to by hand.
type book struct {
	*ledger
	t *testing.T
}

func (b book) put(prefix, name string, object any) {
	b.t.Helper()
	value, err := json.Marshal(object)
	if err != nil {
		b.t.Fatal(err)
	}
	b.event("", prefix+"n/"+name, value)
}

func (b book) event(kind, key string, value []byte) {
	b.t.Helper()
	event := etcdEvent{Type: kind}
	event.KV.Key, event.KV.Value, event.KV.Revision = []byte(key), value, strconv.FormatInt(b.revision+1, 10)
	if err := b.enter(event); err != nil {
		b.t.Fatal(err)
	}
}

func (b book) writeJob(status v1alpha1.GenerationJobStatus) {
	b.t.Helper()
	b.put(jobPrefix, "job", v1alpha1.GenerationJob{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "job", UID: "u"}, Status: status})
}

func (b book) writeRunner(name string, attempts ...int32) {
	b.t.Helper()
	runner := v1alpha1.Runner{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}}
	for _, attempt := range attempts {
		runner.Spec.Assignments = append(runner.Spec.Assignments, v1alpha1.Assignment{UID: "u", JobName: "job", Attempt: attempt})
	}
	b.put(runnerPrefix, name, runner)
}

// met is a committed status with one file.
func met(phase v1alpha1.Phase, sum string) v1alpha1.GenerationJobStatus {
	return v1alpha1.GenerationJobStatus{
		Phase: phase, Attempt: 1, Outputs: []v1alpha1.Output{{SHA256: sum}},
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionSuccessCriteriaMet, Status: metav1.ConditionTrue}},
	}
}

func TestTheLedgerFindsWhatMustNotHappen(t *testing.T) {
	for name, test := range map[string]struct {
		write func(book)
		want  string // empty where all is as it should be
	}{
		"an ordinary life": {func(b book) {
			b.writeRunner("a", 1)
			b.writeJob(met(v1alpha1.PhaseSaving, "x"))
			b.writeRunner("a")
			b.writeJob(met(v1alpha1.PhaseSucceeded, "x"))
		}, ""},
		"another attempt on another runner": {func(b book) {
			b.writeRunner("a", 1)
			b.event("DELETE", runnerPrefix+"n/a", nil)
			b.writeRunner("b", 2)
		}, ""},
		"two runners at a time": {func(b book) {
			b.writeRunner("a", 1)
			b.writeRunner("b", 2)
		}, "revision 3: job job is bound to /registry/generation.atelier.dev/runners/n/a and to /registry/generation.atelier.dev/runners/n/b"},
		"committed twice": {func(b book) {
			b.writeJob(met(v1alpha1.PhaseSaving, "x"))
			b.writeJob(v1alpha1.GenerationJobStatus{Phase: v1alpha1.PhasePending, Attempt: 1})
			b.writeJob(met(v1alpha1.PhaseSaving, "x"))
		}, "committed twice"},
		"other files after the commit": {func(b book) {
			b.writeJob(met(v1alpha1.PhaseSaving, "x"))
			b.writeJob(met(v1alpha1.PhaseSaving, "y"))
		}, "outputs changed after they were committed"},
		"out of a terminal phase": {func(b book) {
			b.writeJob(v1alpha1.GenerationJobStatus{Phase: v1alpha1.PhaseFailed})
			b.writeJob(v1alpha1.GenerationJobStatus{Phase: v1alpha1.PhasePending})
		}, "was Failed and is Pending"},
		"back to an earlier attempt": {func(b book) {
			b.writeJob(v1alpha1.GenerationJobStatus{Attempt: 2})
			b.writeJob(v1alpha1.GenerationJobStatus{Attempt: 1})
		}, "from attempt 2 to 1"},
		"ended with the runner still held": {func(b book) {
			b.writeRunner("a", 1)
			b.writeJob(met(v1alpha1.PhaseSucceeded, "x"))
		}, "is Succeeded and still bound"},
		"lost": {func(b book) { b.event("DELETE", jobPrefix+"n/job", nil) }, "deleted by nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			b := book{newLedger(), t}
			b.writeJob(v1alpha1.GenerationJobStatus{Phase: v1alpha1.PhasePending})
			test.write(b)
			if test.want == "" {
				g.Expect(b.broken()).To(BeEmpty())
				return
			}
			g.Expect(b.broken()).To(ContainElement(ContainSubstring(test.want)))
		})
	}
}
