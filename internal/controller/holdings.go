// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// holdingOf returns what a Runner holds of a job, and whether it holds anything.
func holdingOf(runner *v1alpha1.Runner, job types.UID) (holding, bool) {
	h := holding{
		runner:       v1alpha1.RunnerBinding{Name: runner.Name, PodUID: runner.Spec.PodUID},
		processStart: runner.Status.StartTime,
	}
	for i, a := range runner.Spec.Assignments {
		if a.UID == job {
			h.assignment = &runner.Spec.Assignments[i]
		}
	}
	for i, r := range runner.Status.Assignments {
		if r.UID == job {
			h.report = &runner.Status.Assignments[i]
		}
	}
	return h, h.assignment != nil || h.report != nil
}

// holdingsOf returns what the Runners hold of a job.
func holdingsOf(runners []v1alpha1.Runner, job types.UID) []holding {
	var holdings []holding
	for i := range runners {
		if h, ok := holdingOf(&runners[i], job); ok {
			holdings = append(holdings, h)
		}
	}
	return holdings
}
