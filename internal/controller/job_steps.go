// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// entries are the phases that can be passed unseen, with the progress at their entry. The
// last one can't: a job is shown as Saving until its end is confirmed.
var entries = []struct {
	phase    v1alpha1.Phase
	progress int32
}{
	{v1alpha1.PhaseInitializing, v1alpha1.ProgressInitializing},
	{v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading},
	{v1alpha1.PhaseGenerating, v1alpha1.ProgressGenerating},
}

// decideSteps returns the statuses to write, one after the other. There is more than one
// where the job passed phases too quickly for the manager to see: a runner reports every
// phase, but its reports come through a watch and a queue, which keep only the latest. Who
// watches jobs can rely on each phase being shown.
func decideSteps(view jobView) []v1alpha1.GenerationJobStatus {
	var steps []v1alpha1.GenerationJobStatus
	job, holdings := view.job.DeepCopy(), view.holdings
	view.job = job
	for _, passed := range passedHoldings(view) {
		view.holdings = []holding{passed}
		job.Status = decideJob(view)
		steps = append(steps, job.Status)
	}
	view.holdings = holdings
	return append(steps, decideJob(view))
}

// passedHoldings is what the runner that has the job held when it reported the phases
// between what the job's status shows and what the runner reports now. A failure needs no
// passing: it can happen in any phase.
func passedHoldings(view jobView) []holding {
	bound := boundHolding(view.job, view.holdings)
	if bound == nil || bound.report == nil || bound.report.Attempt != bound.assignment.Attempt ||
		bound.report.Phase == v1alpha1.PhaseFailed || !followed(view.job, bound) {
		return nil
	}
	shown := v1alpha1.ProgressPending
	if bound.assignment.Attempt == view.job.Status.Attempt {
		shown = view.job.Status.Progress
	}
	var passed []holding
	for _, entry := range entries {
		if shown < entry.progress && entry.progress < bound.report.Progress && entry.phase != bound.report.Phase {
			passed = append(passed, holding{runner: bound.runner, assignment: bound.assignment, report: reportAt(entry.phase, entry.progress, bound.report)})
		}
	}
	return passed
}

// reportAt is what a report was at the entry of an earlier phase.
func reportAt(phase v1alpha1.Phase, progress int32, now *v1alpha1.AssignmentReport) *v1alpha1.AssignmentReport {
	report := &v1alpha1.AssignmentReport{
		UID: now.UID, Attempt: now.Attempt, Phase: phase, Progress: progress, Steps: now.Steps, Stages: stagesUntil(now.Stages, phase),
	}
	if progress >= v1alpha1.ProgressModelLoading {
		report.PipelineHealthy = now.PipelineHealthy
	}
	report.ModelLoaded = progress >= v1alpha1.ProgressGenerating && now.ModelLoaded
	return report
}
