// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// poolStatus returns the status that the pool should have while the plan is carried out.
// Refused is the API server's refusal to create a runner, empty where there was none.
func poolStatus(view *poolView, plan *poolPlan, refused string) v1alpha1.RunnerPoolStatus {
	status := view.pool.Status.DeepCopy()
	status.ObservedGeneration = view.pool.Generation
	status.DesiredRunners = int32(len(plan.members) - len(plan.remove) + len(plan.create))
	status.Runners = int32(len(plan.members))
	status.PendingJobs = int32(plan.pending)
	status.ReadyRunners, status.BusyRunners = 0, 0
	for _, m := range plan.members {
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
	set(v1alpha1.ConditionReady, conditionStatus(reason == v1alpha1.ReasonScaled), reason, message)
	meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionStalled)
	meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionReconciling)
	switch reason {
	case v1alpha1.ReasonScaled:
	case v1alpha1.ReasonInvalidTemplate:
		set(v1alpha1.ConditionStalled, metav1.ConditionTrue, reason, message)
	default:
		set(v1alpha1.ConditionReconciling, metav1.ConditionTrue, reason, message)
	}
	return *status
}

// poolState says how the pool stands: the first thing that keeps it from what is wanted.
func poolState(view *poolView, plan *poolPlan, status *v1alpha1.RunnerPoolStatus, refused string) (reason, message string) {
	switch {
	case view.invalid != nil:
		return v1alpha1.ReasonInvalidTemplate, view.invalid.Error()
	case refused != "":
		return v1alpha1.ReasonPodsNotCreated, refused
	}
	for _, m := range plan.members {
		if obstacle := m.obstacle(); obstacle != "" {
			return v1alpha1.ReasonScaling, obstacle
		}
	}
	if len(plan.create)+len(plan.remove) > 0 {
		return v1alpha1.ReasonScaling, fmt.Sprintf("%s to start, %d to remove", count(len(plan.create), "runner"), len(plan.remove))
	}
	return v1alpha1.ReasonScaled, fmt.Sprintf("%d of %s ready", status.ReadyRunners, count(int(status.DesiredRunners), "runner"))
}
