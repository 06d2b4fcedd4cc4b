// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// passedPhase is a phase and the progress at its entry.
type passedPhase struct {
	phase    v1alpha1.Phase
	progress int32
}

// passedPhases are the phases of an attempt, in order.
var passedPhases = []passedPhase{
	{v1alpha1.PhasePending, v1alpha1.ProgressPending},
	{v1alpha1.PhaseInitializing, v1alpha1.ProgressInitializing},
	{v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading},
	{v1alpha1.PhaseGenerating, v1alpha1.ProgressGenerating},
	{v1alpha1.PhaseSaving, v1alpha1.ProgressSaving},
	{v1alpha1.PhaseSucceeded, v1alpha1.ProgressSucceeded},
}

// stepsTo returns the statuses to write, one after the other, in order to come from one
// status to another: the last of them is to, and those before it are phases that the job
// passed too quickly for the manager to see. A runner reports every phase, but its
// reports come through a watch and a queue, which keep only the latest. Who watches jobs
// can rely on each phase being shown.
func stepsTo(from, to v1alpha1.GenerationJobStatus) []v1alpha1.GenerationJobStatus {
	shown := passed(from.Phase)
	if from.Attempt != to.Attempt {
		shown = passed(v1alpha1.PhasePending)
	}
	var steps []v1alpha1.GenerationJobStatus
	for i := shown + 1; i < passed(to.Phase); i++ {
		step := *from.DeepCopy()
		step.Seed, step.Runner, step.Attempt, step.StartTime, step.Steps = to.Seed, to.Runner, to.Attempt, to.StartTime, to.Steps
		step.Step, step.RetryTime = 0, nil
		step.Phase, step.Progress = passedPhases[i].phase, passedPhases[i].progress
		steps = append(steps, step)
	}
	return append(steps, to)
}

// passed is the position of a phase in the way of an attempt. A phase that is no part of
// it, such as Failed, can be entered from any.
func passed(phase v1alpha1.Phase) int {
	return slices.IndexFunc(passedPhases, func(p passedPhase) bool { return p.phase == phase })
}
