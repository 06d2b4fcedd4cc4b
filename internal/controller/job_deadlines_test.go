// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// ago is a moment before testNow.
func ago(d time.Duration) metav1.MicroTime { return metav1.NewMicroTime(testNow.Add(-d)) }

// inStage gives a job one stage that lasts, after others that are over.
func inStage(job *v1alpha1.GenerationJob, since time.Duration, phases ...v1alpha1.Phase) {
	for _, phase := range phases {
		closeStage(job.Status.Stages, testNow.Add(-since))
		job.Status.Stages = append(job.Status.Stages, v1alpha1.Stage{Phase: phase, StartTime: ago(since)})
	}
}

func TestDeadlines(t *testing.T) {
	limits := func(l v1alpha1.StageDeadlines) func(*v1alpha1.GenerationJob) {
		return func(job *v1alpha1.GenerationJob) { job.Spec.StageDeadlines = &l }
	}
	stage := func(since time.Duration, phases ...v1alpha1.Phase) func(*v1alpha1.GenerationJob) {
		return func(job *v1alpha1.GenerationJob) { inStage(job, since, phases...) }
	}
	active := func(seconds int64, since time.Duration) func(*v1alpha1.GenerationJob) {
		return func(job *v1alpha1.GenerationJob) {
			job.Spec.ActiveDeadlineSeconds = &seconds
			job.Status.StartTime = new(metav1.NewTime(testNow.Add(-since)))
		}
	}
	condition := func(name string) func(*v1alpha1.GenerationJob) {
		return func(job *v1alpha1.GenerationJob) {
			setCondition(&job.Status.Conditions, 1, testNow, name, metav1.ConditionTrue, "Test", "")
		}
	}
	seconds := ptr.To[int64](60)
	tests := map[string]struct {
		change []func(*v1alpha1.GenerationJob)
		// want is the time left, with a reason and a message.
		left time.Duration
		want string
	}{
		"a queue has none of itself": {change: []func(*v1alpha1.GenerationJob){stage(time.Hour, v1alpha1.PhasePending)}},
		"a queue that is bounded": {
			[]func(*v1alpha1.GenerationJob){limits(v1alpha1.StageDeadlines{QueueSeconds: seconds}), stage(20*time.Second, v1alpha1.PhasePending)},
			40 * time.Second, "QueueDeadlineExceeded: waiting for a runner to take the job took longer than spec.stageDeadlines.queueSeconds (60)"},
		"loading, bounded by default": {
			[]func(*v1alpha1.GenerationJob){stage(0, v1alpha1.PhaseInitializing, v1alpha1.PhaseModelLoading)},
			30 * time.Minute, "LoadDeadlineExceeded: loading the model took longer than spec.stageDeadlines.loadSeconds (1800, the default)"},
		"loading counts from when the runner took the job": {
			[]func(*v1alpha1.GenerationJob){limits(v1alpha1.StageDeadlines{LoadSeconds: seconds}), stage(50*time.Second, v1alpha1.PhaseInitializing), stage(0, v1alpha1.PhaseModelLoading)},
			10 * time.Second, "LoadDeadlineExceeded: "},
		"taken and not loading yet": {
			[]func(*v1alpha1.GenerationJob){limits(v1alpha1.StageDeadlines{LoadSeconds: seconds}), stage(0, v1alpha1.PhaseInitializing)},
			time.Minute, "LoadDeadlineExceeded: "},
		"generating": {
			[]func(*v1alpha1.GenerationJob){stage(time.Hour, v1alpha1.PhaseGenerating)},
			5 * time.Hour, "GenerateDeadlineExceeded: generating took longer than spec.stageDeadlines.generateSeconds (21600, the default)"},
		"saving": {
			[]func(*v1alpha1.GenerationJob){limits(v1alpha1.StageDeadlines{SaveSeconds: seconds}), stage(2*time.Minute, v1alpha1.PhaseSaving)},
			-time.Minute, "SaveDeadlineExceeded: saving took longer than spec.stageDeadlines.saveSeconds (60)"},
		"a stage that is over":       {change: []func(*v1alpha1.GenerationJob){stage(0, v1alpha1.PhaseSaving), func(job *v1alpha1.GenerationJob) { closeStage(job.Status.Stages, testNow) }}},
		"a phase of another release": {change: []func(*v1alpha1.GenerationJob){stage(0, "Warming")}},
		"being active": {
			[]func(*v1alpha1.GenerationJob){active(30, 20*time.Second)},
			10 * time.Second, "DeadlineExceeded: the job was active for longer than spec.activeDeadlineSeconds (30)"},
		"not active yet": {change: []func(*v1alpha1.GenerationJob){active(30, 0), func(job *v1alpha1.GenerationJob) { job.Status.StartTime = nil }}},
		"the first of two, active": {
			[]func(*v1alpha1.GenerationJob){active(30, 0), limits(v1alpha1.StageDeadlines{SaveSeconds: seconds}), stage(0, v1alpha1.PhaseSaving)},
			30 * time.Second, "DeadlineExceeded: "},
		"the first of two, the stage": {
			[]func(*v1alpha1.GenerationJob){active(90, 0), limits(v1alpha1.StageDeadlines{SaveSeconds: seconds}), stage(0, v1alpha1.PhaseSaving)},
			time.Minute, "SaveDeadlineExceeded: "},
		"none when suspended": {change: []func(*v1alpha1.GenerationJob){active(30, 0), func(job *v1alpha1.GenerationJob) { suspend(&job.Spec) }}},
		"none when cancelled": {change: []func(*v1alpha1.GenerationJob){active(30, 0), func(job *v1alpha1.GenerationJob) { cancel(&job.Spec) }}},
		"none when done":      {change: []func(*v1alpha1.GenerationJob){active(30, 0), condition(v1alpha1.ConditionSuccessCriteriaMet)}},
		"none after the end":  {change: []func(*v1alpha1.GenerationJob){active(30, 0), condition(v1alpha1.ConditionFailed)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			job := newJob()
			for _, change := range tt.change {
				change(job)
			}
			got, left := "", time.Duration(0)
			if next := nextDeadline(job, &job.Status); next != nil {
				got, left = next.reason+": "+next.message, next.at.Sub(testNow)
			}
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" || left != tt.left {
				t.Errorf("in %v %q\nwant %v %q", left, got, tt.left, tt.want)
			}
		})
	}
}

// TestADeadlineEndsTheJob lets a job miss a deadline on its runner: it is Failed when the
// runner has let go, and not before.
func TestADeadlineEndsTheJob(t *testing.T) {
	view := viewOf(newJob())
	view.job.Spec.StageDeadlines = &v1alpha1.StageDeadlines{GenerateSeconds: ptr.To[int64](60)}
	view.holdings = []holding{held(1, &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseGenerating, Progress: 50})}
	view.job.Status = decideJob(view)
	if due := untilDue(view.job, view.now); due != time.Minute {
		t.Errorf("looked at again in %v", due)
	}
	view.now = view.now.Add(time.Minute)
	view.job.Status = decideJob(view)
	if got := conditionText(view.job.Status, v1alpha1.ConditionReady); view.job.Status.Phase != v1alpha1.PhaseGenerating ||
		got != `False Releasing: generating took longer than spec.stageDeadlines.generateSeconds (60); runner "r" has still to confirm that it let go of the job` {
		t.Errorf("%s, Ready is %s", view.job.Status.Phase, got)
	}
	view.holdings = nil
	view.job.Status = decideJob(view)
	if got := conditionText(view.job.Status, v1alpha1.ConditionFailed); view.job.Status.Phase != v1alpha1.PhaseFailed || !strings.HasPrefix(got, "True GenerateDeadlineExceeded: ") {
		t.Errorf("%s, Failed is %s", view.job.Status.Phase, got)
	}
	if view.job.Status.Failures != 0 {
		t.Errorf("%d failures", view.job.Status.Failures)
	}
}
