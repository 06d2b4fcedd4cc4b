// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// The labels. None carries the name of a job or anything a user wrote into one.
const (
	labelNamespace = "namespace"
	labelPool      = "pool"
	labelOutcome   = "outcome"
	labelReason    = "reason"
	labelState     = "state"
)

const (
	outcomeSucceeded = "succeeded"
	outcomeFailed    = "failed"
)

// durationBuckets reach from a warm small model to a queue of hours.
var durationBuckets = prometheus.ExponentialBuckets(0.25, 2, 17)

var (
	jobsFinished = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atelier_jobs_finished_total",
		Help: "Jobs that ended, by outcome and reason.",
	}, []string{labelOutcome, labelReason})

	attemptsFailed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "atelier_job_attempts_failed_total",
		Help: "Attempts that counted against a job's backoffLimit.",
	})

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

	poolJobs = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "atelier_pool_pending_jobs",
		Help: "Jobs that wait for a runner of the pool.",
	}, []string{labelNamespace, labelPool})

	poolRunners = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "atelier_pool_runners",
		Help: "Runners of the pool. The states ready and busy overlap; all counts every runner once.",
	}, []string{labelNamespace, labelPool, labelState})
)

func init() {
	metrics.Registry.MustRegister(jobsFinished, attemptsFailed, queueDuration, runDuration, poolJobs, poolRunners)
}

// countJob records a written change of a job's status.
func countJob(job *v1alpha1.GenerationJob, before, after *v1alpha1.GenerationJobStatus) {
	if before.StartTime == nil && after.StartTime != nil {
		queueDuration.Observe(after.StartTime.Sub(job.CreationTimestamp.Time).Seconds())
	}
	if after.Failures > before.Failures {
		attemptsFailed.Inc()
	}
	if after.CompletionTime == nil || before.CompletionTime != nil {
		return
	}
	outcome, reason := outcomeSucceeded, conditionReason(after, v1alpha1.ConditionComplete)
	if becameTrue(before, after, v1alpha1.ConditionFailed) {
		outcome = outcomeFailed
	}
	jobsFinished.WithLabelValues(outcome, reason).Inc()
	if after.StartTime != nil {
		runDuration.WithLabelValues(outcome).Observe(after.CompletionTime.Sub(after.StartTime.Time).Seconds())
	}
}

// gaugePool records a pool's written status.
func gaugePool(pool types.NamespacedName, status *v1alpha1.RunnerPoolStatus) {
	poolJobs.WithLabelValues(pool.Namespace, pool.Name).Set(float64(status.PendingJobs))
	for state, n := range map[string]int32{"all": status.Runners, "ready": status.ReadyRunners, "busy": status.BusyRunners} {
		poolRunners.WithLabelValues(pool.Namespace, pool.Name, state).Set(float64(n))
	}
}

// forgetPool ends the series of a pool that is no more.
func forgetPool(pool types.NamespacedName) {
	labels := prometheus.Labels{labelNamespace: pool.Namespace, labelPool: pool.Name}
	poolJobs.DeletePartialMatch(labels)
	poolRunners.DeletePartialMatch(labels)
}
