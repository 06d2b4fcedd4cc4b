// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// What a job says while and after its user ends or parks it.
const (
	messageCancelled = "spec.cancel is true"
	messageSuspended = "spec.suspend is true; the job goes on when it is false"
)

func cancelled(job *v1alpha1.GenerationJob) bool { return ptr.Deref(job.Spec.Cancel, false) }
func suspended(job *v1alpha1.GenerationJob) bool { return ptr.Deref(job.Spec.Suspend, false) }

// park makes a suspended job Suspended as soon as no runner holds it. What an attempt failed
// for, how often its runner was lost and how long the job was active is forgotten: when it is
// resumed it may begin at once.
func (d *jobDecision) park() {
	if len(d.holdings) > 0 {
		d.set(v1alpha1.ConditionSuspended, metav1.ConditionFalse, v1alpha1.ReasonReleasing,
			fmt.Sprintf("runner %q has still to confirm that it let go of the job", d.holdings[0].runner.Name))
		return
	}
	d.status.StartTime, d.status.RetryTime = nil, nil
	d.status.ForgottenLosses = uncountedAttempts(d.status)
	d.set(v1alpha1.ConditionSuspended, metav1.ConditionTrue, v1alpha1.ReasonSuspended, messageSuspended)
	d.set(v1alpha1.ConditionScheduled, metav1.ConditionFalse, v1alpha1.ReasonSuspended, messageSuspended)
}

// noteResumed says of a job that was suspended that it is no more.
func (d *jobDecision) noteResumed() {
	if !suspended(d.job) && meta.FindStatusCondition(d.status.Conditions, v1alpha1.ConditionSuspended) != nil {
		d.set(v1alpha1.ConditionSuspended, metav1.ConditionFalse, v1alpha1.ReasonResumed, "spec.suspend is false")
	}
}

// claimsFreedom reports whether a job's status is going to say that no runner has the job,
// which no runner has confirmed: it ended or was suspended while it waited for one, or its
// runner is gone and the attempt over.
func claimsFreedom(job *v1alpha1.GenerationJob) bool {
	bound := meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.ConditionScheduled)
	switch {
	case endRecorded(&job.Status):
		return !bound
	case cancelled(job):
		return true
	}
	if suspended(job) {
		return !meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.ConditionSuspended)
	}
	return lossUnnoted(&job.Status)
}
