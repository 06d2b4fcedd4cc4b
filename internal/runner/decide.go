// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// situation is all that the next decision depends on.
type situation struct {
	// runner as the API server last showed it; nil where there is none.
	runner *v1alpha1.Runner
	// podUID of the pod that this process runs in.
	podUID types.UID
	// reports are what the status is to say of assignments.
	reports []v1alpha1.AssignmentReport
	// running is the attempt that is being worked on, also while its work is still
	// coming to an end; the zero key when there is none.
	running key
	// stopping is true once the process has to end.
	stopping bool
}

// decision is what to do next.
type decision struct {
	// drop these reports, which acknowledges that their assignments are gone.
	drop []key
	// crashed are the reports of an earlier process's unfinished work.
	crashed []key
	// cancel the running work.
	cancel bool
	// take this assignment; nil to take none.
	take *v1alpha1.Assignment
}

// decide compares what the manager wants with what was reported and is being done. It
// depends on nothing but the situation, so that missed or repeated events change nothing.
func decide(s situation) decision {
	assignments := s.wanted()
	wanted := func(k key) bool {
		return slices.ContainsFunc(assignments, func(a v1alpha1.Assignment) bool { return keyOf(&a) == k })
	}
	var d decision
	for i := range s.reports {
		k := keyOfReport(&s.reports[i])
		switch {
		case k == s.running:
			// Its report goes when the work is over, not before: that is what
			// tells the manager that the slot is free.
		case !wanted(k):
			d.drop = append(d.drop, k)
		case !ended(&s.reports[i]):
			// This process reports on what it runs and nothing else, so that an
			// earlier one began this and is gone.
			d.crashed = append(d.crashed, k)
		}
	}
	busy := s.running != key{}
	d.cancel = busy && !wanted(s.running)
	if !busy && !s.stopping {
		d.take = s.firstNew(assignments)
	}
	return d
}

// wanted are the assignments that this process is to run. A Runner that is another
// pod's, or that is being deleted, wants nothing of it.
func (s situation) wanted() []v1alpha1.Assignment {
	if s.runner == nil || s.runner.Spec.PodUID != s.podUID || s.runner.DeletionTimestamp != nil {
		return nil
	}
	return s.runner.Spec.Assignments
}

// firstNew gives the first assignment that nothing was said of yet.
func (s situation) firstNew(assignments []v1alpha1.Assignment) *v1alpha1.Assignment {
	for i := range assignments {
		reported := slices.ContainsFunc(s.reports, func(r v1alpha1.AssignmentReport) bool {
			return keyOfReport(&r) == keyOf(&assignments[i])
		})
		if !reported {
			return &assignments[i]
		}
	}
	return nil
}
