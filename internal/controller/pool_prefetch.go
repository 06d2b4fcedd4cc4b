// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/schedule"
)

// prefetch has the runners that were just given a job bring models into their caches that
// the jobs left over wait for. That is said in the write that gives them the job, so that it
// costs no other.
func (d *poolDecision) prefetch() {
	var bound []string
	for _, c := range d.plan.changes {
		if len(c.bound) > 0 {
			bound = append(bound, c.member.pod.Name)
		}
	}
	if len(bound) == 0 {
		return // As most of the time: the queue may be long.
	}
	var runners []schedule.Runner
	for _, m := range d.fleet.members {
		if m.runner != nil {
			runners = append(runners, m.forJobs())
		}
	}
	brings := schedule.Prefetch(d.queue, runners, bound)
	for _, c := range d.plan.changes {
		if len(c.bound) > 0 {
			c.member.prefetch = d.assigned(brings[c.member.pod.Name])
		}
	}
}

// assigned is a model of the queue as a Runner's spec names it; nil for no model.
func (d *poolDecision) assigned(wanted schedule.Model) *v1alpha1.AssignedModel {
	for _, model := range d.models {
		if model != nil && scheduledModel(model) == wanted {
			return new(assignedModel(model, d.pool))
		}
	}
	return nil
}
