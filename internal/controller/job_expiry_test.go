// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// endedJob is one that ended at testNow.
func endedJob(name string, ttl *int32) *v1alpha1.GenerationJob {
	job := newJob()
	job.Namespace, job.Name, job.UID = simNamespace, name, ""
	job.Spec.TTLSecondsAfterFinished, job.Spec.BackoffLimit = ttl, ptr.To[int32](0)
	job.Status = v1alpha1.GenerationJobStatus{
		Phase:          v1alpha1.PhaseSucceeded,
		Progress:       v1alpha1.ProgressSucceeded,
		Seed:           ptr.To[int64](7),
		Outputs:        []v1alpha1.Output{{Seed: 7}},
		CompletionTime: new(metav1.NewTime(testNow)),
	}
	setCondition(&job.Status.Conditions, 1, testNow, v1alpha1.ConditionComplete, metav1.ConditionTrue, "Test", "")
	return job
}

func TestExpiry(t *testing.T) {
	running := endedJob("running", ptr.To[int32](5))
	running.Status.Conditions = nil
	for name, tt := range map[string]struct {
		job     *v1alpha1.GenerationJob
		want    time.Time
		expires bool
	}{
		"without a time to live": {job: endedJob("kept", nil)},
		"at once":                {endedJob("short", ptr.To[int32](0)), testNow, true},
		"later":                  {endedJob("long", ptr.To[int32](60)), testNow.Add(time.Minute), true},
		"not before its end":     {job: running},
	} {
		t.Run(name, func(t *testing.T) {
			if got, expires := expiryOf(tt.job); !got.Equal(tt.want) || expires != tt.expires {
				t.Errorf("%v, %t; want %v, %t", got, expires, tt.want, tt.expires)
			}
		})
	}
}

// TestOnlyTheJobThatExpiredIsDeleted lets a manager whose cache is old look at a job whose
// time to live is over, while there is another of its name.
func TestOnlyTheJobThatExpiredIsDeleted(t *testing.T) {
	w := newWorld(0)
	w.addPool(1, 1)
	old := endedJob("apple", ptr.To[int32](60))
	w.clock.SetTime(testNow)
	w.must(w.truth.Create(w.ctx, old))
	w.must(w.truth.Status().Update(w.ctx, old))
	w.catchUp(keyOf(old))
	result, err := w.jobs.Reconcile(w.ctx, request(old))
	if err != nil || result.RequeueAfter != time.Minute {
		t.Fatalf("looked at again in %v, %v", result.RequeueAfter, err)
	}

	w.clock.SetTime(testNow.Add(time.Hour))
	w.must(w.truth.Delete(w.ctx, old))
	again := endedJob("apple", ptr.To[int32](60))
	w.must(w.truth.Create(w.ctx, again))
	w.must(w.truth.Status().Update(w.ctx, again))
	if _, err := w.jobs.Reconcile(w.ctx, request(old)); err != nil || len(stored[*v1alpha1.GenerationJob](w)) != 1 {
		t.Errorf("the new job of an old name was deleted, %v", err)
	}
	w.catchUp(keyOf(again))
	if _, err := w.jobs.Reconcile(w.ctx, request(again)); err != nil || len(stored[*v1alpha1.GenerationJob](w)) != 0 || w.broken != nil {
		t.Errorf("the job that expired is still there, %v, %v", err, w.broken)
	}
}
