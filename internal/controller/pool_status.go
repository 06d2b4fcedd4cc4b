// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// poolStatus returns the status that the pool should have while the plan is carried out.
// Refused is the API server's refusal to create a runner, empty where there was none.
func poolStatus(view *poolView, plan *poolPlan, refused string) v1alpha1.RunnerPoolStatus {
	status := view.pool.Status.DeepCopy()
	status.ObservedGeneration = view.pool.Generation
	status.DesiredRunners = int32(len(plan.members) - len(plan.remove) + len(plan.create) + plan.postponed)
	status.Runners = int32(len(plan.members))
	status.PendingJobs = int32(plan.pending)
	status.ReadyRunners, status.BusyRunners, status.UpdatedRunners = 0, 0, 0
	for _, m := range plan.members {
		if !m.outdated {
			status.UpdatedRunners++
		}
		if m.ready() {
			status.ReadyRunners++
		}
		if m.jobs() > 0 {
			status.BusyRunners++
		}
	}
	set := func(condition string, is metav1.ConditionStatus, reason, message string) {
		setCondition(&status.Conditions, view.pool.Generation, view.now, condition, is, reason, message)
	}
	reason, message := poolState(view, plan, status, refused)
	activity := activityOf(reason)
	set(v1alpha1.ConditionReady, conditionStatus(activity == ""), reason, message)
	for _, condition := range []string{v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling} {
		if condition == activity {
			set(condition, metav1.ConditionTrue, reason, message)
		} else {
			meta.RemoveStatusCondition(&status.Conditions, condition)
		}
	}
	return *status
}

// activityOf is the condition that says why a pool is not ready; empty where it is ready.
func activityOf(reason string) string {
	switch reason {
	case v1alpha1.ReasonScaled, v1alpha1.ReasonPoolSuspended:
		return ""
	case v1alpha1.ReasonInvalidTemplate, v1alpha1.ReasonInvalidNamespaces, v1alpha1.ReasonInvalidDuration:
		return v1alpha1.ConditionStalled
	}
	return v1alpha1.ConditionReconciling
}

// poolState says how the pool stands: the first thing that keeps it from what is wanted.
func poolState(view *poolView, plan *poolPlan, status *v1alpha1.RunnerPoolStatus, refused string) (reason, message string) {
	switch {
	case view.invalid != nil:
		return v1alpha1.ReasonInvalidTemplate, view.invalid.Error()
	case view.invalidNamespaces != nil:
		return v1alpha1.ReasonInvalidNamespaces, view.invalidNamespaces.Error()
	case view.invalidDuration != nil:
		return v1alpha1.ReasonInvalidDuration, view.invalidDuration.Error()
	case poolSuspended(view.pool):
		return suspendedState(plan)
	case refused != "":
		return v1alpha1.ReasonPodsNotCreated, refused
	}
	if reason, message := memberState(plan.members); message != "" {
		return reason, message
	}
	if changes := len(plan.create) + len(plan.remove); changes > 0 {
		return v1alpha1.ReasonScaling, fmt.Sprintf("%s to start, %d to remove", count(len(plan.create), "runner"), len(plan.remove))
	}
	if plan.postponed > 0 {
		return v1alpha1.ReasonScaling, count(plan.postponed, "runner") + " to start when pods that are ending make room"
	}
	for _, m := range plan.leaving {
		if m.stranded(view.now) {
			return v1alpha1.ReasonScaling, fmt.Sprintf("pod %q was to end at %s and is still there; its node may have failed",
				m.pod.Name, m.pod.DeletionTimestamp.UTC().Format(time.RFC3339))
		}
	}
	if old := status.Runners - status.UpdatedRunners; old > 0 {
		return v1alpha1.ReasonUpdating, fmt.Sprintf("%d of %s have still to be replaced, as the template changed", old, count(int(status.Runners), "runner"))
	}
	return v1alpha1.ReasonScaled, fmt.Sprintf("%d of %s ready", status.ReadyRunners, count(int(status.DesiredRunners), "runner"))
}

// suspendedState says how far a suspended pool is emptied.
func suspendedState(plan *poolPlan) (reason, message string) {
	if left := len(plan.members) + len(plan.leaving); left > 0 {
		return v1alpha1.ReasonScaling, fmt.Sprintf("suspended; %s left to finish and end", count(left, "runner"))
	}
	return v1alpha1.ReasonPoolSuspended, "suspended; no runner is left"
}

// memberState says what keeps a member from taking jobs, in the scheduler's words before
// all others; empty where nothing does.
func memberState(members []*member) (reason, message string) {
	for _, m := range members {
		obstacle := m.obstacle()
		switch {
		case obstacle == "":
		case m.unschedulable():
			return v1alpha1.ReasonUnschedulable, obstacle
		case message == "":
			reason, message = v1alpha1.ReasonScaling, obstacle
		}
	}
	return reason, message
}
