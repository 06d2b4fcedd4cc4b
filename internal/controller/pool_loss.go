// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// strandedAfter is how long after the end of its grace period a pod may still be there.
// A kubelet that lives is done within seconds.
const strandedAfter = 30 * time.Second

// lostRunner is one that can't be relied on any more.
type lostRunner struct {
	pod *corev1.Pod
	// why in the words of an event.
	why string
}

// giveUp has a member's pod deleted, which ends its runner where anything still can. Its
// jobs are free when the pod is gone, or stranded.
func (d *poolDecision) giveUp(m *member, why string) {
	d.plan.silent = append(d.plan.silent, lostRunner{m.pod, why})
	d.fleet.leave(m)
}

// giveUpUnready bounds how long a job stays with a runner of whose pod no good is heard. The
// kubelet and the node controller keep the pod's Ready condition, and the runner answers the
// probe behind it only while it reaches the API server; so the condition tells of a process
// that hangs, a node that died and a network that is cut alike.
func (d *poolDecision) giveUpUnready() {
	timeout := durationOr(v1alpha1.DefaultUnreadyTimeout, d.pool.Spec.UnreadyTimeout)
	for _, m := range slices.Clone(d.fleet.members) {
		since := unreadySince(m.pod)
		if !since.IsZero() && m.jobs() > 0 && d.reached(since.Add(timeout)) {
			d.giveUp(m, "has jobs and was not ready since "+since.UTC().Format(time.RFC3339))
		}
	}
}

// giveUpStranded deletes the Runners of pods that should be long gone. Nobody there can say
// any more that a job is free, and what an old process reports later is refused.
func (d *poolDecision) giveUpStranded() {
	for _, m := range d.fleet.leaving {
		if end := m.strandedAt(); !end.IsZero() && d.reached(end) && m.jobs() > 0 {
			d.plan.lost = append(d.plan.lost, m.runner)
		}
	}
}

// reached reports whether a moment has come, and has the pool looked at again when it does.
func (d *poolDecision) reached(t time.Time) bool {
	if d.now.Before(t) {
		d.recheckAt(t)
		return false
	}
	return true
}

// unreadySince is since when the pod's containers are known not to be ready; zero where
// they are, or nobody says.
func unreadySince(pod *corev1.Pod) time.Time {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status != corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// strandedAt is when a pod that is being deleted should be long gone; zero where it is not.
// A deletion timestamp is when the grace period ends.
func (m *member) strandedAt() time.Time {
	if m.pod.DeletionTimestamp.IsZero() {
		return time.Time{}
	}
	return m.pod.DeletionTimestamp.Add(strandedAfter)
}

// stranded reports whether the pod should be long gone.
func (m *member) stranded(now time.Time) bool {
	at := m.strandedAt()
	return !at.IsZero() && !now.Before(at)
}
