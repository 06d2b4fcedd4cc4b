// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"time"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

const (
	// settleTime is how long the manager waits with a write that the next one is likely
	// to make needless.
	settleTime = time.Second
	// crashSettleTime is how long the manager waits for the kubelet to say how a process
	// ended.
	crashSettleTime = 5 * time.Second
)

// untilSettled returns how long to wait before writing what a runner reports; zero where
// there is nothing to wait for. A job that was just bound is about to be taken, and one that
// just began to save is about to be done: for a warm job that spares two writes of nine. How
// a process crashed is known when the kubelet has said so.
func untilSettled(view jobView) time.Duration {
	bound := boundHolding(view.job, view.holdings)
	if !followed(view.job, bound) {
		return 0
	}
	report := bound.report
	switch {
	case report == nil || report.Attempt != bound.assignment.Attempt:
		if since := bound.assignment.BindTime; since != nil && bound.assignment.Attempt > view.job.Status.Attempt {
			return remaining(since.Time, settleTime, view.now)
		}
	case report.Phase == v1alpha1.PhaseSaving:
		if saving := findStage(report.Stages, report.Phase); saving != nil && view.job.Status.Progress < v1alpha1.ProgressSaving {
			return remaining(saving.StartTime.Time, settleTime, view.now)
		}
	case report.Error != nil && report.Error.Reason == v1alpha1.ReasonRunnerCrashed:
		if view.pod != nil && bound.processStart != nil && crashOf(*bound, view.pod) == nil {
			return min(settleTime, remaining(bound.processStart.Time, crashSettleTime, view.now))
		}
	}
	return 0
}

// remaining is how much of a time is left that began at since; zero also where that has
// not come yet, as clocks differ.
func remaining(since time.Time, of time.Duration, now time.Time) time.Duration {
	if age := now.Sub(since); age >= 0 && age < of {
		return of - age
	}
	return 0
}
