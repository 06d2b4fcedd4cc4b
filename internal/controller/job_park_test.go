// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// TestParkedAndCancelledJobs decides on jobs of which a user wants no more for now, or ever.
func TestParkedAndCancelledJobs(t *testing.T) {
	drawing := held(1, &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseGenerating, Progress: 50, ModelLoaded: true})
	released := drawing
	released.assignment = nil
	type want struct {
		phase v1alpha1.Phase
		// conditions, as "True Reason: the beginning of the message"; empty where there is none.
		conditions map[string]string
	}
	tests := map[string]struct {
		change   func(*v1alpha1.GenerationJobSpec)
		holdings []holding
		want     want
	}{
		"suspended while a runner has it": {suspend, []holding{drawing}, want{v1alpha1.PhaseGenerating, map[string]string{
			"Suspended":   `False Releasing: runner "r" has still to confirm`,
			"Reconciling": `True Releasing: spec.suspend is true; the job goes on when it is false; runner "r" has still to confirm`,
			"Scheduled":   "True Bound: ",
		}}},
		"suspended while a runner lets go": {suspend, []holding{released}, want{v1alpha1.PhaseGenerating, map[string]string{"Suspended": "False Releasing: "}}},
		"suspended": {suspend, nil, want{v1alpha1.PhaseSuspended, map[string]string{
			"Suspended":   "True Suspended: spec.suspend is true",
			"Scheduled":   "False Suspended: spec.suspend is true",
			"Ready":       "",
			"Reconciling": "",
			"Stalled":     "",
			"Complete":    "Unknown InProgress: ",
		}}},
		"cancelled while a runner has it": {cancel, []holding{drawing}, want{v1alpha1.PhaseGenerating, map[string]string{
			"Cancelled":   "",
			"Reconciling": `True Releasing: spec.cancel is true; runner "r" has still to confirm`,
		}}},
		"cancelled": {cancel, nil, want{v1alpha1.PhaseCancelled, map[string]string{
			"Cancelled":   "True Cancelled: spec.cancel is true",
			"Complete":    "False Cancelled: ",
			"Failed":      "False Cancelled: ",
			"Ready":       "False Cancelled: ",
			"Stalled":     "True Cancelled: ",
			"Reconciling": "",
		}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			view := viewOf(newJob())
			view.holdings = []holding{drawing}
			view.job.Status = decideJob(view)
			tt.change(&view.job.Spec)
			view.holdings = tt.holdings
			status := decideJob(view)
			if status.Phase != tt.want.phase || status.Progress != 50 || status.Failures != 0 {
				t.Errorf("%s at %d with %d failures, want %s", status.Phase, status.Progress, status.Failures, tt.want.phase)
			}
			for condition, want := range tt.want.conditions {
				got := conditionText(status, condition)
				if want == "" && meta.FindStatusCondition(status.Conditions, condition) != nil || !strings.HasPrefix(got, want) {
					t.Errorf("%s is %q, want %q", condition, got, want)
				}
			}
		})
	}
}

func TestAResumedJobBeginsAgain(t *testing.T) {
	view := viewOf(newJob())
	view.holdings = []holding{held(1, failureReport(v1alpha1.ReasonRunnerCrashed, true))}
	view.job.Status = decideJob(view)
	view.holdings = nil
	suspend(&view.job.Spec)
	view.job.Status = decideJob(view)
	resume(&view.job.Spec)
	view.job.Status = decideJob(view)
	status := view.job.Status
	if got := conditionText(status, v1alpha1.ConditionSuspended); got != "False Resumed: spec.suspend is false" || status.Phase != v1alpha1.PhasePending {
		t.Errorf("%s, Suspended is %s", status.Phase, got)
	}
	if status.RetryTime != nil || status.StartTime != nil || status.Failures != 1 || *status.Seed != 7 {
		t.Errorf("retry at %v, started at %v, %d failures, seed %d", status.RetryTime, status.StartTime, status.Failures, *status.Seed)
	}
	if !mayBegin(view.job, view.now) {
		t.Error("it may not begin")
	}
}

// TestTheFirstEndStands cancels jobs whose end is recorded already.
func TestTheFirstEndStands(t *testing.T) {
	for condition, want := range map[string]v1alpha1.Phase{
		v1alpha1.ConditionSuccessCriteriaMet: v1alpha1.PhaseSucceeded,
		v1alpha1.ConditionFailureTarget:      v1alpha1.PhaseFailed,
	} {
		view := viewOf(newJob())
		setCondition(&view.job.Status.Conditions, 1, testNow, condition, metav1.ConditionTrue, "Test", "")
		cancel(&view.job.Spec)
		if got := decideJob(view).Phase; got != want {
			t.Errorf("%s ends %s", condition, got)
		}
	}
}

// TestAnEndedJobOnlyNotesTheGeneration suspends and cancels a job that has ended.
func TestAnEndedJobOnlyNotesTheGeneration(t *testing.T) {
	view := viewOf(newJob())
	setCondition(&view.job.Status.Conditions, 1, testNow, v1alpha1.ConditionSuccessCriteriaMet, metav1.ConditionTrue, "Test", "")
	view.job.Status = decideJob(view)
	before := view.job.Status
	suspend(&view.job.Spec)
	cancel(&view.job.Spec)
	view.job.Generation, view.now = 2, view.now.Add(time.Hour)
	after := decideJob(view)
	if after.ObservedGeneration != 2 || after.Phase != before.Phase || len(after.Conditions) != len(before.Conditions) {
		t.Errorf("generation %d, %s with %v", after.ObservedGeneration, after.Phase, after.Conditions)
	}
}
