// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestDecide(t *testing.T) {
	a1, a2, b1 := key{"a", 1}, key{"a", 2}, key{"b", 1}
	const (
		generating = v1alpha1.PhaseGenerating
		succeeded  = v1alpha1.PhaseSucceeded
		failed     = v1alpha1.PhaseFailed
	)
	tests := map[string]struct {
		given situation
		drop  []key
		crash []key
		stop  bool
		take  key
	}{
		"nothing to do": {
			given: situation{runner: assigned()},
		},
		"the first assignment is taken": {
			given: situation{runner: assigned(a1, b1)},
			take:  a1,
		},
		"one at a time": {
			given: situation{runner: assigned(a1, b1), reports: reports(generating, a1), running: a1},
		},
		"the next is taken when the first ended": {
			given: situation{runner: assigned(a1, b1), reports: reports(succeeded, a1)},
			take:  b1,
		},
		"an ended one is kept until it is taken away": {
			given: situation{runner: assigned(a1), reports: reports(failed, a1)},
		},
		"an ended one that was taken away is dropped": {
			given: situation{runner: assigned(b1), reports: reports(succeeded, a1)},
			drop:  []key{a1}, take: b1,
		},
		"running work that was taken away is stopped, its report kept until it is over": {
			given: situation{runner: assigned(), reports: reports(generating, a1), running: a1},
			stop:  true,
		},
		"another attempt waits until the old one is over": {
			given: situation{runner: assigned(a2), reports: reports(generating, a1), running: a1},
			stop:  true,
		},
		"another attempt replaces the old report": {
			given: situation{runner: assigned(a2), reports: reports(failed, a1)},
			drop:  []key{a1}, take: a2,
		},
		"what an earlier process left unfinished has crashed": {
			given: situation{runner: assigned(a1), reports: reports(generating, a1)},
			crash: []key{a1},
		},
		"a crash does not hold up the next": {
			given: situation{runner: assigned(a1, b1), reports: reports(generating, a1)},
			crash: []key{a1}, take: b1,
		},
		"what an earlier process left unfinished and is not wanted is dropped": {
			given: situation{runner: assigned(), reports: reports(generating, a1)},
			drop:  []key{a1},
		},
		"what an earlier process ended is kept": {
			given: situation{runner: assigned(a1), reports: reports(succeeded, a1)},
		},
		"nothing is taken while stopping": {
			given: situation{runner: assigned(a1), stopping: true},
		},
		"reports are dropped while stopping": {
			given: situation{runner: assigned(), reports: reports(failed, a1), stopping: true},
			drop:  []key{a1},
		},
		"without a Runner everything stops": {
			given: situation{reports: append(reports(generating, a1), reports(failed, b1)...), running: a1},
			drop:  []key{b1}, stop: true,
		},
		"a Runner that is being deleted wants nothing": {
			given: situation{runner: deleting(assigned(a1, b1)), reports: reports(generating, a1), running: a1},
			stop:  true,
		},
		"another pod's Runner wants nothing of this one": {
			given: situation{runner: assigned(a1), podUID: "another"},
		},
		"another pod's Runner stops what runs": {
			given: situation{runner: assigned(a1), podUID: "another", reports: reports(generating, a1), running: a1},
			stop:  true,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.given.podUID == "" {
				test.given.podUID = "pod"
			}
			d := decide(test.given)
			got := map[string]any{"drop": d.drop, "crash": d.crashed, "stop": d.cancel, "take": key{}}
			if d.take != nil {
				got["take"] = keyOf(d.take)
			}
			want := map[string]any{"drop": test.drop, "crash": test.crash, "stop": test.stop, "take": test.take}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(key{})); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDecideSettles follows every decision from many situations until none is left, and
// expects that this ends, with at most one report for each job.
func TestDecideSettles(t *testing.T) {
	keys := []key{{"a", 1}, {"a", 2}, {"b", 1}}
	phases := []v1alpha1.Phase{"", v1alpha1.PhaseGenerating, v1alpha1.PhaseFailed}
	for want := range 1 << len(keys) {
		for had := range 9 {
			s := situation{runner: assigned(), podUID: "pod"}
			for i, k := range keys {
				if want&(1<<i) != 0 && (i != 1 || want&1 == 0) {
					s.runner.Spec.Assignments = append(s.runner.Spec.Assignments, v1alpha1.Assignment{UID: k.uid, Attempt: k.attempt})
				}
			}
			for i, phase := range []v1alpha1.Phase{phases[had%3], phases[had/3]} {
				if phase != "" {
					s.reports = append(s.reports, reports(phase, keys[2*i])...)
				}
			}
			settle(t, s)
		}
	}
}

// settle does what decide says, and ends running work at once, until nothing changes.
func settle(t *testing.T, s situation) {
	t.Helper()
	for range 10 {
		d := decide(s)
		if len(d.drop)+len(d.crashed) == 0 && !d.cancel && d.take == nil && s.running == (key{}) {
			if len(s.reports) != len(s.wanted()) {
				t.Errorf("settled with %d reports on %d assignments", len(s.reports), len(s.wanted()))
			}
			return
		}
		status := &v1alpha1.RunnerStatus{Assignments: s.reports}
		record(status, d, time.Time{})
		if s.running != (key{}) {
			findReport(status, s.running).Phase = v1alpha1.PhaseSucceeded
			s.running = key{}
		}
		if d.take != nil {
			s.running = keyOf(d.take)
		}
		s.reports = status.Assignments
		seen := map[types.UID]bool{}
		for _, r := range s.reports {
			if seen[r.UID] {
				t.Fatalf("two reports on job %s", r.UID)
			}
			seen[r.UID] = true
		}
	}
	t.Errorf("never settled: %+v", s)
}

func assigned(keys ...key) *v1alpha1.Runner {
	runner := &v1alpha1.Runner{Spec: v1alpha1.RunnerSpec{PodUID: "pod"}}
	for _, k := range keys {
		runner.Spec.Assignments = append(runner.Spec.Assignments, v1alpha1.Assignment{UID: k.uid, Attempt: k.attempt})
	}
	return runner
}

func deleting(runner *v1alpha1.Runner) *v1alpha1.Runner {
	runner.DeletionTimestamp = &metav1.Time{Time: time.Unix(0, 0)}
	return runner
}

func reports(phase v1alpha1.Phase, keys ...key) []v1alpha1.AssignmentReport {
	var all []v1alpha1.AssignmentReport
	for _, k := range keys {
		all = append(all, v1alpha1.AssignmentReport{UID: k.uid, Attempt: k.attempt, Phase: phase})
	}
	return all
}
