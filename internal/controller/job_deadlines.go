// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// deadline is a moment at which a job fails unless it has come further.
type deadline struct {
	at              time.Time
	reason, message string
}

// enforceDeadlines lets the job fail if a deadline has passed.
func (d *jobDecision) enforceDeadlines() {
	next := nextDeadline(d.job, d.status)
	if next == nil || d.now.Before(next.at) {
		return
	}
	d.set(v1alpha1.ConditionFailureTarget, metav1.ConditionTrue, next.reason, next.message)
	d.status.Phase = phaseOf(d.status, d.report)
}

// nextDeadline returns the first deadline that a job with the given status can miss; nil
// where there is none. A job that is suspended or about to end has none.
func nextDeadline(job *v1alpha1.GenerationJob, status *v1alpha1.GenerationJobStatus) *deadline {
	if suspended(job) || cancelled(job) || endRecorded(status) || endOf(status) != nil {
		return nil
	}
	active, stage := activeDeadline(job, status), stageDeadline(job, status)
	if active == nil || stage != nil && stage.at.Before(active.at) {
		return stage
	}
	return active
}

// activeDeadline bounds the time since a runner first had the job.
func activeDeadline(job *v1alpha1.GenerationJob, status *v1alpha1.GenerationJobStatus) *deadline {
	seconds := job.Spec.ActiveDeadlineSeconds
	if seconds == nil || status.StartTime == nil {
		return nil
	}
	return &deadline{
		at:      status.StartTime.Add(time.Duration(*seconds) * time.Second),
		reason:  v1alpha1.ReasonDeadlineExceeded,
		message: fmt.Sprintf("the job was active for longer than spec.activeDeadlineSeconds (%d)", *seconds),
	}
}

// stageDeadline bounds the time in the present stage. Loading counts from when the runner
// took the job, so that no time is without a clock.
func stageDeadline(job *v1alpha1.GenerationJob, status *v1alpha1.GenerationJobStatus) *deadline {
	open := openStage(status.Stages)
	if open == nil {
		return nil
	}
	limits := ptr.Deref(job.Spec.StageDeadlines, v1alpha1.StageDeadlines{})
	bound := func(since *v1alpha1.Stage, field, reason, what string, seconds, fallback *int64) *deadline {
		note := ""
		if seconds == nil {
			seconds, note = fallback, ", the default"
		}
		if seconds == nil || since == nil {
			return nil
		}
		return &deadline{
			at:      since.StartTime.Add(time.Duration(*seconds) * time.Second),
			reason:  reason,
			message: fmt.Sprintf("%s took longer than spec.stageDeadlines.%s (%d%s)", what, field, *seconds, note),
		}
	}
	switch open.Phase {
	case v1alpha1.PhasePending:
		return bound(open, "queueSeconds", v1alpha1.ReasonQueueDeadlineExceeded,
			"waiting for a runner to take the job", limits.QueueSeconds, nil)
	case v1alpha1.PhaseInitializing, v1alpha1.PhaseModelLoading:
		return bound(findStage(status.Stages, v1alpha1.PhaseInitializing), "loadSeconds", v1alpha1.ReasonLoadDeadlineExceeded,
			"loading the model", limits.LoadSeconds, new(v1alpha1.DefaultLoadSeconds))
	case v1alpha1.PhaseGenerating:
		return bound(open, "generateSeconds", v1alpha1.ReasonGenerateDeadlineExceeded,
			"generating", limits.GenerateSeconds, new(v1alpha1.DefaultGenerateSeconds))
	case v1alpha1.PhaseSaving:
		return bound(open, "saveSeconds", v1alpha1.ReasonSaveDeadlineExceeded,
			"saving", limits.SaveSeconds, new(v1alpha1.DefaultSaveSeconds))
	}
	return nil
}
