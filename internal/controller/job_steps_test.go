// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"testing"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestStepsShowEveryPhase(t *testing.T) {
	status := func(phase v1alpha1.Phase, progress, attempt int32) v1alpha1.GenerationJobStatus {
		return v1alpha1.GenerationJobStatus{Phase: phase, Progress: progress, Attempt: attempt}
	}
	for name, test := range map[string]struct {
		from, to v1alpha1.GenerationJobStatus
		want     []string
	}{
		"first sight":       {status("", 0, 0), status("Pending", 0, 0), []string{"Pending(0)"}},
		"the next phase":    {status("Pending", 0, 1), status("Initializing", 1, 1), []string{"Initializing(1)"}},
		"within a phase":    {status("Generating", 20, 1), status("Generating", 30, 1), []string{"Generating(30)"}},
		"one passed":        {status("Pending", 0, 1), status("ModelLoading", 5, 1), []string{"Initializing(1)", "ModelLoading(5)"}},
		"never seen before": {status("", 0, 0), status("ModelLoading", 5, 1), []string{"Initializing(1)", "ModelLoading(5)"}},
		"all passed": {status("Pending", 0, 0), status("Saving", 95, 1),
			[]string{"Initializing(1)", "ModelLoading(5)", "Generating(10)", "Saving(95)"}},
		"to the end": {status("ModelLoading", 5, 1), status("Succeeded", 100, 1),
			[]string{"Generating(10)", "Saving(95)", "Succeeded(100)"}},
		"another attempt": {status("Generating", 60, 1), status("Generating", 12, 2),
			[]string{"Initializing(1)", "ModelLoading(5)", "Generating(12)"}},
		"back to the queue":          {status("Generating", 60, 1), status("Pending", 0, 1), []string{"Pending(0)"}},
		"failure needs no passing":   {status("Pending", 0, 0), status("Failed", 0, 1), []string{"Failed(0)"}},
		"a phase of another release": {status("Pending", 0, 1), status("Warming", 3, 1), []string{"Warming(3)"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, step := range stepsTo(test.from, test.to) {
				got = append(got, fmt.Sprintf("%s(%d)", step.Phase, step.Progress))
				if step.Attempt != test.to.Attempt {
					t.Errorf("%s speaks of attempt %d, want %d", step.Phase, step.Attempt, test.to.Attempt)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("steps = %v, want %v", got, test.want)
			}
		})
	}
}
