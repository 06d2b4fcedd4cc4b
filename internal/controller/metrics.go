// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// The labels of jobs' metrics. As those of pools, none carries the name of a job or anything
// a user wrote into one.
const (
	labelOutcome = "outcome"
	labelReason  = "reason"
	labelStage   = "stage"
)

const (
	outcomeSucceeded = "succeeded"
	outcomeFailed    = "failed"
	outcomeCancelled = "cancelled"
)

// durationBuckets reach from a warm small model to a queue of hours.
var durationBuckets = prometheus.ExponentialBuckets(0.25, 2, 17)

// stageBuckets reach from a stage that had nothing to do to a queue of hours.
var stageBuckets = prometheus.ExponentialBuckets(0.01, 2.5, 17)

var (
	jobsFinished = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atelier_jobs_finished_total",
		Help: "Jobs that ended, by outcome and reason.",
	}, []string{labelOutcome, labelReason})

	attemptsFailed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "atelier_job_attempts_failed_total",
		Help: "Attempts that counted against a job's backoffLimit.",
	})

	stageDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "atelier_job_stage_duration_seconds",
		Help:    "Time that a job was in a stage: Pending, Initializing, ModelLoading, Generating, Saving or Suspended.",
		Buckets: stageBuckets,
	}, []string{labelStage})

	queueDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "atelier_job_queue_duration_seconds",
		Help:    "Time from a job's creation until a runner first had it.",
		Buckets: durationBuckets,
	})

	runDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "atelier_job_run_duration_seconds",
		Help:    "Time from when a runner first had a job until its end, retries included.",
		Buckets: durationBuckets,
	}, []string{labelOutcome})
)

func init() {
	metrics.Registry.MustRegister(jobsFinished, attemptsFailed, queueDuration, runDuration, stageDuration)
}

// countJob records a written change of a job's status.
func countJob(job *v1alpha1.GenerationJob, before, after *v1alpha1.GenerationJobStatus) {
	if before.Attempt == 0 && after.Attempt > 0 {
		queueDuration.Observe(after.StartTime.Sub(job.CreationTimestamp.Time).Seconds())
	}
	if after.Failures > before.Failures {
		attemptsFailed.Inc()
	}
	for _, stage := range stagesEnded(before.Stages, after.Stages) {
		stageDuration.WithLabelValues(string(stage.Phase)).Observe(stage.EndTime.Sub(stage.StartTime.Time).Seconds())
	}
	if after.CompletionTime == nil || before.CompletionTime != nil {
		return
	}
	end := endOf(after)
	outcome := outcomes[end.Type]
	jobsFinished.WithLabelValues(outcome, knownReason(end.Reason)).Inc()
	if after.StartTime != nil {
		runDuration.WithLabelValues(outcome).Observe(after.CompletionTime.Sub(after.StartTime.Time).Seconds())
	}
}

// outcomes are the ends of a job by the condition that makes them.
var outcomes = map[string]string{
	v1alpha1.ConditionComplete:  outcomeSucceeded,
	v1alpha1.ConditionFailed:    outcomeFailed,
	v1alpha1.ConditionCancelled: outcomeCancelled,
}

// stagesEnded returns the stages that ended with a change. Those of an attempt that is over
// ended when the next one began.
func stagesEnded(before, after []v1alpha1.Stage) []v1alpha1.Stage {
	var ended []v1alpha1.Stage
	if open := openStage(before); open != nil && len(after) > 0 && findStage(after, open.Phase) == nil {
		ended = append(ended, v1alpha1.Stage{Phase: open.Phase, StartTime: open.StartTime, EndTime: &after[0].StartTime})
	}
	for _, stage := range after {
		was := findStage(before, stage.Phase)
		if stage.EndTime != nil && (was == nil || was.EndTime == nil) {
			ended = append(ended, stage)
		}
	}
	return ended
}

// reasons that may be a label. Runners name reasons in their reports, and one that is not
// what it should be could name any number of them.
var reasons = map[string]bool{
	v1alpha1.ReasonSucceeded: true, v1alpha1.ReasonCancelled: true,
	v1alpha1.ReasonInvalidRequest: true, v1alpha1.ReasonModelInvalid: true, v1alpha1.ReasonModelTooLarge: true, v1alpha1.ReasonModelLoadFailed: true,
	v1alpha1.ReasonModelPullFailed: true, v1alpha1.ReasonModelVerifyFailed: true, v1alpha1.ReasonCacheFull: true,
	v1alpha1.ReasonGenerationFailed: true, v1alpha1.ReasonSaveFailed: true, v1alpha1.ReasonStoreUnavailable: true, v1alpha1.ReasonPipelineUnhealthy: true,
	v1alpha1.ReasonRunnerCrashed: true, v1alpha1.ReasonRunnerOutOfMemory: true, v1alpha1.ReasonRunnerLost: true,
	v1alpha1.ReasonBackoffLimitExceeded: true, v1alpha1.ReasonDeadlineExceeded: true,
	v1alpha1.ReasonQueueDeadlineExceeded: true, v1alpha1.ReasonLoadDeadlineExceeded: true,
	v1alpha1.ReasonGenerateDeadlineExceeded: true, v1alpha1.ReasonSaveDeadlineExceeded: true,
}

// knownReason keeps the label's values bounded.
func knownReason(reason string) string {
	if reasons[reason] {
		return reason
	}
	return "Other"
}
