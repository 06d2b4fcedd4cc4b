// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// answerTime is how long a runner may owe an answer. A runner that works answers within a
// denoising step, and one that hangs is restarted by its liveness probe.
const answerTime = 2 * time.Minute

// giveUpSilent gives up the runners that have owed an answer for too long: their process
// hangs, or the network between them and the API server is cut.
func (d *poolDecision) giveUpSilent() {
	for _, m := range slices.Clone(d.fleet.members) {
		if since := m.owesSince(); !since.IsZero() && d.reached(since.Add(answerTime)) {
			d.giveUp(m, "owes the manager an answer since "+since.UTC().Format(time.RFC3339))
		}
	}
}

// leave makes a member one that is being removed.
func (f *fleet) leave(m *member) {
	f.members = slices.DeleteFunc(f.members, func(other *member) bool { return other == m })
	f.leaving = append(f.leaving, m)
}

// owesSince is since when the runner has owed an answer: that its process is there, that it
// let go of a job, or that it takes the one that is next. Zero where it owes none.
func (m *member) owesSince() time.Time {
	if m.runner == nil {
		return time.Time{}
	}
	if meta.FindStatusCondition(m.runner.Status.Conditions, v1alpha1.ConditionReady) == nil {
		return runningSince(m.pod)
	}
	working := false
	for _, report := range m.runner.Status.Assignments {
		assigned := slices.ContainsFunc(m.runner.Spec.Assignments, func(a v1alpha1.Assignment) bool { return a.UID == report.UID })
		if !assigned {
			return m.idleSince()
		}
		working = working || !reportEnded(&report)
	}
	for _, a := range m.runner.Spec.Assignments {
		reported := slices.ContainsFunc(m.runner.Status.Assignments, func(r v1alpha1.AssignmentReport) bool { return r.UID == a.UID })
		if !working && !reported && a.BindTime != nil {
			return a.BindTime.Time
		}
	}
	return time.Time{}
}

// runningSince is since when the runner's process has run; zero where it does not.
func runningSince(pod *corev1.Pod) time.Time {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == runnerContainer && status.State.Running != nil {
			return status.State.Running.StartedAt.Time
		}
	}
	return time.Time{}
}
