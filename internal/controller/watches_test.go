// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"testing"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// TestARunnersNewsReachItsJobs asks which jobs are looked at again when a Runner changes.
func TestARunnersNewsReachItsJobs(t *testing.T) {
	w := newWorld(0)
	w.addPool(1, 1)
	for _, name := range []string{"assigned", "reported", "known", "other", "ended"} {
		w.addJob(name, "cat", 0)
	}
	uids := map[string]*v1alpha1.GenerationJob{}
	for _, job := range all[*v1alpha1.GenerationJob](w) {
		uids[job.Name] = job
	}
	uids["known"].Status.Runner = &v1alpha1.RunnerBinding{Name: "default-0"}
	setCondition(&uids["ended"].Status.Conditions, 1, testNow, v1alpha1.ConditionCancelled, "True", "Test", "")
	for _, name := range []string{"known", "ended"} {
		w.must(w.truth.Status().Update(w.ctx, uids[name]))
	}
	for _, key := range w.stale() {
		w.catchUp(key)
	}
	runner := &v1alpha1.Runner{}
	runner.Namespace, runner.Name = simNamespace, "default-0"
	runner.Spec.Assignments = []v1alpha1.Assignment{{UID: uids["assigned"].UID, JobName: "assigned"}}
	runner.Status.Assignments = []v1alpha1.AssignmentReport{{UID: uids["reported"].UID}, {UID: uids["ended"].UID}}

	var got []string
	for key := range (watches{&simManager{simAPI: w.truth, world: w}}).jobsOfRunner(w.ctx, runner) {
		got = append(got, key.Name)
	}
	slices.Sort(got)
	if want := []string{"assigned", "known", "reported"}; !slices.Equal(got, want) || w.broken != nil {
		t.Errorf("got %v, want %v, %v", got, want, w.broken)
	}
}
