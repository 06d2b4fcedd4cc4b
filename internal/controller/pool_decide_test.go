// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// poolScene builds a poolView step by step.
type poolScene struct{ *poolView }

func newPoolScene(maximum, slots int32) poolScene {
	pool := poolWith("")
	pool.UID = "pool"
	pool.Spec.MaxRunners, pool.Spec.Slots = &maximum, &slots
	template, err := runnerTemplate(pool, "atelier-runner")
	return poolScene{&poolView{
		pool: pool, template: template, invalid: err, now: testNow,
		allowed: map[string]bool{"studio": true},
		models:  map[types.NamespacedName]*v1alpha1.Model{{Namespace: "studio", Name: "emoji"}: {ObjectMeta: metav1.ObjectMeta{Name: "emoji", UID: "emoji", Generation: 1}}},
		gone:    map[types.UID]bool{},
	}}
}

// runner adds a ready runner that has the jobs.
func (s poolScene) runner(ordinal int, jobs ...string) {
	name := fmt.Sprint("gpu-", ordinal)
	s.pods = append(s.pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(testNow),
		Annotations:     map[string]string{v1alpha1.AnnotationTemplateHash: templateHash(s.template)},
		OwnerReferences: []metav1.OwnerReference{{UID: "pool", Controller: new(true)}},
	}})
	runner := v1alpha1.Runner{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.RunnerSpec{PodUID: types.UID(name)}}
	setCondition(&runner.Status.Conditions, 1, testNow, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonStarted, "")
	for _, job := range jobs {
		runner.Spec.Assignments = append(runner.Spec.Assignments, v1alpha1.Assignment{UID: types.UID(job), JobName: job, Attempt: 1})
	}
	s.runners = append(s.runners, runner)
}

// job adds a job that waits, or is attempt 1 of what a runner has.
func (s poolScene) job(name string) *v1alpha1.GenerationJob {
	job := newJob()
	job.Name, job.UID, job.Status.Seed = name, types.UID(name), ptr.To[int64](1)
	job.CreationTimestamp = metav1.NewTime(testNow.Add(time.Duration(len(s.jobs)) * time.Second))
	s.jobs = append(s.jobs, *job)
	return &s.jobs[len(s.jobs)-1]
}

// plan returns the assignments that change, by runner, and the ordinals to create.
func (s poolScene) plan() (assignments map[string][]string, create []int) {
	plan := decidePool(s.poolView)
	assignments = map[string][]string{}
	for _, c := range plan.changes {
		names := []string{}
		for _, a := range c.member.assignments {
			names = append(names, fmt.Sprintf("%s/%d", a.JobName, a.Attempt))
		}
		assignments[c.member.pod.Name] = names
	}
	return assignments, plan.create
}

func TestWhichJobsAreGivenAway(t *testing.T) {
	retry := func(d time.Duration) *metav1.Time { return new(metav1.NewTime(testNow.Add(d))) }
	set := func(condition string) func(*v1alpha1.GenerationJob) {
		return func(job *v1alpha1.GenerationJob) {
			setCondition(&job.Status.Conditions, 1, testNow, condition, metav1.ConditionTrue, "Test", "")
		}
	}
	tests := map[string]struct {
		change func(*v1alpha1.GenerationJob)
		want   []string
	}{
		"a new job":                {func(*v1alpha1.GenerationJob) {}, []string{"apple/1"}},
		"not before it has a seed": {func(job *v1alpha1.GenerationJob) { job.Status.Seed = nil }, nil},
		"not without its model":    {func(job *v1alpha1.GenerationJob) { job.Spec.ModelRef.Name = "none" }, nil},
		"not while it backs off":   {func(job *v1alpha1.GenerationJob) { job.Status.Attempt, job.Status.RetryTime = 1, retry(time.Second) }, nil},
		"but then":                 {func(job *v1alpha1.GenerationJob) { job.Status.Attempt, job.Status.RetryTime = 1, retry(0) }, []string{"apple/2"}},
		"after its runner is lost": {func(job *v1alpha1.GenerationJob) { job.Status.Attempt = 4 }, []string{"apple/5"}},
		"not when it is deleted":   {func(job *v1alpha1.GenerationJob) { job.DeletionTimestamp = retry(0) }, nil},
		"not when it is to end":    {set(v1alpha1.ConditionSuccessCriteriaMet), nil},
		"nor when it is to fail":   {set(v1alpha1.ConditionFailureTarget), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newPoolScene(1, 1)
			s.runner(0)
			tt.change(s.job("apple"))
			got, _ := s.plan()
			if diff := cmp.Diff(tt.want, got["gpu-0"]); diff != "" {
				t.Errorf("assignments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhichRunnersAreGivenJobs(t *testing.T) {
	tests := map[string]struct {
		change func(poolScene)
		given  bool
	}{
		"a ready one":              {func(poolScene) {}, true},
		"not one without a Runner": {func(s poolScene) { s.runners = nil }, false},
		"not one that says it is not ready": {func(s poolScene) {
			s.runners[0].Status.Conditions[0].Status = metav1.ConditionFalse
		}, false},
		"not one of another pod": {func(s poolScene) { s.runners[0].Spec.PodUID = "before" }, false},
		"not one that leaves":    {func(s poolScene) { s.pods[0].DeletionTimestamp = &metav1.Time{Time: testNow} }, false},
		"not one that is evicted": {func(s poolScene) {
			s.pods[0].Status.Phase = corev1.PodFailed
		}, false},
		"not one that the kubelet finds unready": {func(s poolScene) {
			s.pods[0].Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
		}, false},
		"not one that crashes": {func(s poolScene) {
			s.pods[0].Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}}
		}, false},
		"not an outdated one":      {func(s poolScene) { s.pods[0].Annotations[v1alpha1.AnnotationTemplateHash] = "old" }, false},
		"not someone else's":       {func(s poolScene) { s.pods[0].OwnerReferences[0].UID = "someone" }, false},
		"none of a pool that goes": {func(s poolScene) { s.pool.DeletionTimestamp = &metav1.Time{Time: testNow} }, false},
		"none of an invalid pool":  {func(s poolScene) { s.invalid = fmt.Errorf("spec.template") }, false},
		"not one that still works on one": {func(s poolScene) {
			s.runners[0].Status.Assignments = []v1alpha1.AssignmentReport{{UID: "before", Phase: v1alpha1.PhaseGenerating}}
		}, false},
		"one that has only to let go": {func(s poolScene) {
			s.runners[0].Status.Assignments = []v1alpha1.AssignmentReport{{UID: "before", Phase: v1alpha1.PhaseSucceeded}}
		}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newPoolScene(1, 1)
			s.runner(0)
			s.job("apple")
			tt.change(s)
			if got, _ := s.plan(); (len(got) > 0) != tt.given {
				t.Errorf("assignments %v", got)
			}
		})
	}
}

// TestAJobGoesBackToTheRunnerThatDrewIt since that may have kept the pictures that it could not
// save. An attempt that ended before drew nothing.
func TestAJobGoesBackToTheRunnerThatDrewIt(t *testing.T) {
	for progress, want := range map[int32]string{v1alpha1.ProgressSaving: "gpu-1", v1alpha1.ProgressGenerated: "gpu-0"} {
		s := newPoolScene(2, 1)
		s.runner(0)
		s.runner(1)
		job := s.job("apple")
		job.Status.Attempt, job.Status.Progress, job.Status.Runner = 1, progress, &v1alpha1.RunnerBinding{Name: "gpu-1"}
		if got, _ := s.plan(); len(got[want]) != 1 {
			t.Errorf("ended at %d %%: assignments %v, want it on %s", progress, got, want)
		}
	}
}

// TestTheNextJobComesInTheWriteThatTakesTheLastAway saves a queue two writes and a round trip
// for each job.
func TestTheNextJobComesInTheWriteThatTakesTheLastAway(t *testing.T) {
	s := newPoolScene(1, 1)
	s.runner(0, "apple")
	done := s.job("apple")
	setCondition(&done.Status.Conditions, 1, testNow, v1alpha1.ConditionSuccessCriteriaMet, metav1.ConditionTrue, "Test", "")
	s.runners[0].Status.Assignments = []v1alpha1.AssignmentReport{{UID: "apple", Attempt: 1, Phase: v1alpha1.PhaseSucceeded}}
	s.job("pear")
	got, _ := s.plan()
	if diff := cmp.Diff(map[string][]string{"gpu-0": {"pear/1"}}, got); diff != "" {
		t.Errorf("assignments (-want +got):\n%s", diff)
	}
}

func TestWhichAssignmentsAreTakenAway(t *testing.T) {
	tests := map[string]struct {
		change func(poolScene)
		taken  bool
	}{
		"not those at work": {func(poolScene) {}, false},
		"those of a job that is gone": {func(s poolScene) {
			s.jobs, s.gone["apple"] = nil, true
		}, true},
		"not those of a job that the cache does not know": {func(s poolScene) { s.jobs = nil }, false},
		"those of a deleted job":                          {func(s poolScene) { s.jobs[0].DeletionTimestamp = &metav1.Time{Time: testNow} }, true},
		"those whose failure is recorded": {func(s poolScene) {
			s.jobs[0].Status.Attempt, s.jobs[0].Status.RetryTime = 1, &metav1.Time{Time: testNow}
		}, true},
		"those of an earlier attempt": {func(s poolScene) { s.jobs[0].Status.Attempt = 2 }, true},
		"those whose end is recorded": {func(s poolScene) {
			setCondition(&s.jobs[0].Status.Conditions, 1, testNow, v1alpha1.ConditionSuccessCriteriaMet, metav1.ConditionTrue, "Test", "")
		}, true},
		"even when the template is invalid": {func(s poolScene) { s.invalid, s.gone["apple"], s.jobs = fmt.Errorf("spec.template"), true, nil }, true},
		"even when the pod leaves": {func(s poolScene) {
			s.pods[0].DeletionTimestamp, s.gone["apple"], s.jobs = &metav1.Time{Time: testNow}, true, nil
		}, true},
		"the second of two": {func(s poolScene) {
			s.runner(1, "apple")
			s.jobs[0].Status.Runner = &v1alpha1.RunnerBinding{Name: "gpu-1", PodUID: "gpu-1"}
		}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newPoolScene(2, 1)
			s.runner(0, "apple")
			s.job("apple")
			tt.change(s)
			got, _ := s.plan()
			if assignments, changed := got["gpu-0"]; changed != tt.taken || len(assignments) > 0 {
				t.Errorf("assignments %v", got)
			}
		})
	}
}

func TestSecondSlotsAreForFullPools(t *testing.T) {
	s := newPoolScene(2, 2)
	s.runner(0, "apple")
	s.job("apple")
	s.job("pear")
	got, create := s.plan()
	if len(got) > 0 || !cmp.Equal(create, []int{1}) {
		t.Errorf("assignments %v, create %v: another runner can be had", got, create)
	}
	s.runner(1, "plum")
	s.job("plum")
	got, create = s.plan()
	if want := map[string][]string{"gpu-0": {"apple/1", "pear/1"}}; !cmp.Equal(got, want) || len(create) > 0 {
		t.Errorf("assignments %v, create %v: the pool is full", got, create)
	}
}

func TestAPlanEndsWithTheBackoff(t *testing.T) {
	s := newPoolScene(1, 1)
	retry := testNow.Add(3 * time.Second)
	s.job("apple").Status.RetryTime = &metav1.Time{Time: retry}
	s.job("pear").Status.RetryTime = &metav1.Time{Time: retry.Add(time.Hour)}
	if recheck := decidePool(s.poolView).recheck; !recheck.Equal(retry) {
		t.Errorf("rechecked at %v, want %v", recheck, retry)
	}
	if wait := untilRecheck(retry, testNow); wait != 3*time.Second {
		t.Errorf("waits %v", wait)
	}
	if wait := untilRecheck(testNow, testNow); wait <= 0 {
		t.Errorf("a moment that has come makes no wait: %v", wait)
	}
}
