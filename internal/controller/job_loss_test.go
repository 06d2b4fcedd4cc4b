// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// TestRunnersThatGoAwayAreNotTriedHot takes runner after runner away from a job, by what
// they say last or without a word: the first time it may begin again at once, and then after
// waits that double up to the longest. None counts as a failure.
func TestRunnersThatGoAwayAreNotTriedHot(t *testing.T) {
	for name, last := range map[string]*v1alpha1.AssignmentReport{
		"without a word": nil,
		"saying so":      failureReport(v1alpha1.ReasonRunnerLost, true),
		"for a store":    failureReport(v1alpha1.ReasonStoreUnavailable, true),
	} {
		t.Run(name, func(t *testing.T) {
			view := viewOf(newJob())
			view.job.Spec.BackoffLimit = new(int32(0))
			view.backoff.Max = 5 * time.Second
			var waits []time.Duration
			for attempt := range int32(6) {
				view.holdings = []holding{held(attempt+1, &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseInitializing, Progress: 1})}
				view.job.Status = decideJob(view)
				if last != nil {
					view.holdings = []holding{held(attempt+1, last.DeepCopy())}
					view.job.Status = decideJob(view)
				}
				view.holdings = nil
				if last == nil && attempt > 0 && mayBegin(view.job, view.now) {
					t.Errorf("attempt %d may begin before the loss of the last was noted", attempt+2)
				}
				view.job.Status = decideJob(view)
				began := view.now
				for !mayBegin(view.job, view.now) {
					view.now = view.now.Add(time.Second)
				}
				waits = append(waits, view.now.Sub(began))
			}
			if want := []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second}; !slices.Equal(waits, want) {
				t.Errorf("waited %v, want %v", waits, want)
			}
			if status := view.job.Status; status.Failures != 0 || endRecorded(&status) {
				t.Errorf("%d failures, %s", status.Failures, conditionText(status, v1alpha1.ConditionReady))
			}
		})
	}
}

// TestSuspensionsAreNoLosses takes a job from its runner by suspending it, again and again,
// and then takes its runners away: it waits as one that was never suspended.
func TestSuspensionsAreNoLosses(t *testing.T) {
	view := viewOf(newJob())
	attempt := int32(0)
	next := func() {
		attempt++
		view.holdings = []holding{held(attempt, &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseInitializing, Progress: 1})}
		view.job.Status = decideJob(view)
	}
	wait := func() time.Duration {
		began := view.now
		for view.job.Status = decideJob(view); !mayBegin(view.job, view.now); {
			view.now = view.now.Add(time.Second)
		}
		return view.now.Sub(began)
	}
	for round := range 3 {
		for range 2 {
			next()
			suspend(&view.job.Spec)
			view.job.Status = decideJob(view) // The runner has still to let go of it.
			view.holdings = nil
			view.job.Status = decideJob(view)
			resume(&view.job.Spec)
			if waited := wait(); waited != 0 {
				t.Errorf("round %d: resumed after %v", round, waited)
			}
		}
		var waits []time.Duration
		for range 3 {
			next()
			view.holdings = nil
			waits = append(waits, wait())
		}
		if want := []time.Duration{0, time.Second, 2 * time.Second}; !slices.Equal(waits, want) {
			t.Errorf("round %d: waited %v, want %v", round, waits, want)
		}
	}
}

func TestAWaitForALostRunnerSaysSo(t *testing.T) {
	view := viewOf(newJob())
	for attempt := range int32(2) {
		view.holdings = []holding{held(attempt+1, nil)}
		view.job.Status = decideJob(view)
		view.holdings = nil
		if !claimsFreedom(view.job) && attempt > 0 {
			t.Error("the end of the attempt is taken from the cache")
		}
		view.job.Status = decideJob(view)
	}
	want := fmt.Sprintf(`False Backoff: attempt 2 ended with RunnerLost: runner "r" went away, which does not count against backoffLimit; the next may begin at %s`,
		testNow.Add(time.Second).Format(time.RFC3339))
	if got := conditionText(view.job.Status, v1alpha1.ConditionScheduled); !strings.HasPrefix(got, want) {
		t.Errorf("Scheduled is %s\nwant %s", got, want)
	}
}
