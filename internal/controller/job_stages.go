// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// runnerPhases are the phases of which a runner reports the times.
var runnerPhases = []v1alpha1.Phase{
	v1alpha1.PhaseInitializing, v1alpha1.PhaseModelLoading, v1alpha1.PhaseGenerating, v1alpha1.PhaseSaving,
}

// enterPhase derives the phase and keeps the times of the present attempt's stages. An
// attempt begins with the wait for it.
func (d *jobDecision) enterPhase() {
	d.status.Phase = phaseOf(d.status, d.report)
	switch phase := d.status.Phase; {
	case endOf(d.status) != nil:
		closeStage(d.status.Stages, d.now)
	case phase == v1alpha1.PhaseSuspended, phase == v1alpha1.PhasePending && !endRecorded(d.status):
		d.restartStages(phase)
	case d.report != nil && len(d.report.Stages) > 0:
		d.mirrorStages(d.report.Stages)
	case d.report != nil && slices.Contains(runnerPhases, phase):
		// A runner of an earlier release reports no times.
		d.addStage(v1alpha1.Stage{Phase: phase, StartTime: metav1.NewMicroTime(d.now)})
	}
}

// restartStages makes a phase without a runner the only stage, unless it is that already.
// The first wait began when the job was created.
func (d *jobDecision) restartStages(phase v1alpha1.Phase) {
	stages := d.status.Stages
	if len(stages) == 1 && stages[0].Phase == phase && stages[0].EndTime == nil {
		return
	}
	start := d.now
	if created := d.job.CreationTimestamp; len(stages) == 0 && d.status.Attempt == 0 && !created.IsZero() {
		start = created.Time
	}
	d.status.Stages = []v1alpha1.Stage{{Phase: phase, StartTime: metav1.NewMicroTime(start)}}
}

// mirrorStages takes over what a runner reports of its stages. Its clock is its own, so a
// time that can't be is moved to the nearest that can; and what was taken over before stays
// as it is.
func (d *jobDecision) mirrorStages(reported []v1alpha1.Stage) {
	for _, stage := range reported {
		if !slices.Contains(runnerPhases, stage.Phase) {
			continue
		}
		d.addStage(v1alpha1.Stage{Phase: stage.Phase, StartTime: d.possible(stage.StartTime)})
		if known := openStage(d.status.Stages); stage.EndTime != nil && known != nil && known.Phase == stage.Phase {
			known.EndTime = new(d.possible(*stage.EndTime))
		}
	}
}

// possible returns the time nearest to t between the latest that is known and now.
func (d *jobDecision) possible(t metav1.MicroTime) metav1.MicroTime {
	earliest := d.now
	if n := len(d.status.Stages); n > 0 {
		earliest = d.status.Stages[n-1].StartTime.Time
		if end := d.status.Stages[n-1].EndTime; end != nil {
			earliest = end.Time
		}
	}
	switch {
	case t.Time.Before(earliest):
		return metav1.NewMicroTime(earliest)
	case d.now.Before(t.Time):
		return metav1.NewMicroTime(d.now)
	}
	return t
}

// addStage ends the open stage with the beginning of another, unless that is known.
func (d *jobDecision) addStage(stage v1alpha1.Stage) {
	if findStage(d.status.Stages, stage.Phase) == nil {
		closeStage(d.status.Stages, stage.StartTime.Time)
		d.status.Stages = append(d.status.Stages, stage)
	}
}

// closeStage ends the open stage, if there is one.
func closeStage(stages []v1alpha1.Stage, at time.Time) {
	if open := openStage(stages); open != nil {
		open.EndTime = new(metav1.NewMicroTime(at))
	}
}

// openStage returns the stage that lasts, nil where none does.
func openStage(stages []v1alpha1.Stage) *v1alpha1.Stage {
	if n := len(stages); n > 0 && stages[n-1].EndTime == nil {
		return &stages[n-1]
	}
	return nil
}

// findStage returns the stage of a phase, nil where there is none.
func findStage(stages []v1alpha1.Stage, phase v1alpha1.Phase) *v1alpha1.Stage {
	if at := slices.IndexFunc(stages, func(s v1alpha1.Stage) bool { return s.Phase == phase }); at >= 0 {
		return &stages[at]
	}
	return nil
}

// stagesUntil is what a runner had reported of its stages when it entered a phase.
func stagesUntil(stages []v1alpha1.Stage, phase v1alpha1.Phase) []v1alpha1.Stage {
	at := slices.IndexFunc(stages, func(s v1alpha1.Stage) bool { return s.Phase == phase })
	if at < 0 {
		return nil
	}
	until := slices.Clone(stages[:at+1])
	until[at].EndTime = nil
	return until
}
