// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestStepsShowEveryPhase(t *testing.T) {
	report := func(phase v1alpha1.Phase, progress int32) *v1alpha1.AssignmentReport {
		return &v1alpha1.AssignmentReport{Phase: phase, Progress: progress, ModelLoaded: progress >= v1alpha1.ProgressGenerating}
	}
	for name, tt := range map[string]struct {
		// attempt and progress that the job shows
		attempt  int32
		progress int32
		// report on attempt 1, nil for none
		report *v1alpha1.AssignmentReport
		want   []string
	}{
		"no report yet":              {0, 0, nil, []string{"Pending(0)"}},
		"the next phase":             {1, 0, report("Initializing", 1), []string{"Initializing(1)"}},
		"within a phase":             {1, 20, report("Generating", 30), []string{"Generating(30)"}},
		"one passed":                 {1, 0, report("ModelLoading", 5), []string{"Initializing(1)", "ModelLoading(5)"}},
		"all passed":                 {0, 0, report("Saving", 95), []string{"Initializing(1)", "ModelLoading(5)", "Generating(10)", "Saving(95)"}},
		"to the end":                 {1, 5, report("Succeeded", 100), []string{"Generating(10)", "Saving(95)"}},
		"a phase of another release": {1, 1, report("Warming", 3), []string{"Warming(3)"}},
		"failure needs no passing": {0, 0, &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseFailed, Error: &v1alpha1.AssignmentError{Reason: v1alpha1.ReasonModelInvalid}},
			[]string{"Pending(0)"}},
	} {
		t.Run(name, func(t *testing.T) {
			view := viewOf(newJob())
			view.job.Status.Attempt, view.job.Status.Progress = tt.attempt, tt.progress
			view.holdings = []holding{held(1, tt.report)}
			if tt.attempt == 1 {
				view.job.Status.Runner = &view.holdings[0].runner
				view.job.Status.Conditions = newJobDecision(view).status.Conditions
				meta.FindStatusCondition(view.job.Status.Conditions, v1alpha1.ConditionScheduled).Status = "True"
			}
			steps := decideSteps(view)
			got := make([]string, 0, len(steps))
			for _, step := range steps {
				got = append(got, fmt.Sprintf("%s(%d)", step.Phase, step.Progress))
				if !meta.IsStatusConditionTrue(step.Conditions, v1alpha1.ConditionScheduled) || step.Attempt != 1 {
					t.Errorf("%s speaks of attempt %d with conditions %v", step.Phase, step.Attempt, step.Conditions)
				}
				if loaded := meta.IsStatusConditionTrue(step.Conditions, v1alpha1.ConditionModelLoaded); loaded != (step.Progress >= v1alpha1.ProgressGenerating) {
					t.Errorf("in %s the model is loaded: %t", step.Phase, loaded)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}
