// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestWhatTheManagerWaitsWithAMoment(t *testing.T) {
	bound := func(since time.Duration, report *v1alpha1.AssignmentReport) holding {
		h := held(1, report)
		h.assignment.BindTime = new(ago(since))
		return h
	}
	saving := func(since time.Duration) *v1alpha1.AssignmentReport {
		return &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseSaving, Progress: v1alpha1.ProgressSaving, Stages: []v1alpha1.Stage{{Phase: v1alpha1.PhaseSaving, StartTime: ago(since)}}}
	}
	crashed := func(restarted time.Duration) holding {
		h := held(1, failureReport(v1alpha1.ReasonRunnerCrashed, true))
		h.processStart = new(ago(restarted))
		return h
	}
	tests := map[string]struct {
		holding holding
		change  func(*jobView)
		want    time.Duration
	}{
		"bound just now":            {holding: bound(300*time.Millisecond, nil), want: 700 * time.Millisecond},
		"bound and not taken":       {holding: bound(time.Second, nil)},
		"bound by an older manager": {holding: held(1, nil)},
		"bound, by a clock ahead":   {holding: bound(-time.Minute, nil)},
		"bound, and shown as such":  {holding: bound(0, nil), change: func(v *jobView) { v.job.Status.Attempt = 1 }},
		"taken":                     {holding: bound(0, &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseInitializing})},
		"saving for a moment":       {holding: bound(time.Minute, saving(100*time.Millisecond)), want: 900 * time.Millisecond},
		"saving for longer":         {holding: bound(time.Minute, saving(time.Second))},
		"saving, and shown as such": {holding: bound(time.Minute, saving(0)), change: func(v *jobView) { v.job.Status.Attempt, v.job.Status.Progress = 1, v1alpha1.ProgressSaving }},
		"suspended meanwhile":       {holding: bound(0, nil), change: func(v *jobView) { suspend(&v.job.Spec) }},
		"cancelled meanwhile":       {holding: bound(0, nil), change: func(v *jobView) { cancel(&v.job.Spec) }},
		"a crash, unexplained":      {holding: crashed(100 * time.Millisecond), want: time.Second},
		"a crash, soon given up":    {holding: crashed(4500 * time.Millisecond), want: 500 * time.Millisecond},
		"a crash, never explained":  {holding: crashed(5 * time.Second)},
		"a crash with a lost pod":   {holding: crashed(0), change: func(v *jobView) { v.pod = nil }},
		"a crash that was explained": {holding: crashed(0), change: func(v *jobView) {
			v.pod = crashedPod(runnerContainer, corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(testNow)})
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			view := viewOf(newJob())
			view.holdings, view.pod = []holding{tt.holding}, &corev1.Pod{}
			if tt.change != nil {
				tt.change(&view)
			}
			if got := untilSettled(view); got != tt.want {
				t.Errorf("waits %v, want %v", got, tt.want)
			}
		})
	}
}
