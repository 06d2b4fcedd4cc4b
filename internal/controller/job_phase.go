// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// phaseOf sums up a job's conditions and the report of its bound attempt, nil where there
// is none. Nothing decides by the result.
//
// A job that a runner has to let go of stays in the phase that its progress says it had
// reached until the runner has done so.
func phaseOf(status *v1alpha1.GenerationJobStatus, report *v1alpha1.AssignmentReport) v1alpha1.Phase {
	is := func(condition string) bool { return meta.IsStatusConditionTrue(status.Conditions, condition) }
	switch {
	case is(v1alpha1.ConditionComplete):
		return v1alpha1.PhaseSucceeded
	case is(v1alpha1.ConditionFailed):
		return v1alpha1.PhaseFailed
	case is(v1alpha1.ConditionCancelled):
		return v1alpha1.PhaseCancelled
	case is(v1alpha1.ConditionSuspended):
		return v1alpha1.PhaseSuspended
	case !is(v1alpha1.ConditionScheduled):
		return v1alpha1.PhasePending
	case report == nil || endRecorded(status):
		return phaseReached(status.Progress)
	}
	return report.Phase
}

// phaseReached is the phase that begins at the highest progress not above the given one.
func phaseReached(progress int32) v1alpha1.Phase {
	switch {
	case progress >= v1alpha1.ProgressSaving:
		return v1alpha1.PhaseSaving
	case progress >= v1alpha1.ProgressGenerating:
		return v1alpha1.PhaseGenerating
	case progress >= v1alpha1.ProgressModelLoading:
		return v1alpha1.PhaseModelLoading
	case progress >= v1alpha1.ProgressInitializing:
		return v1alpha1.PhaseInitializing
	}
	return v1alpha1.PhasePending
}
