// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/schedule"
)

// The labels. None carries the name of a job or anything a user wrote into one.
const (
	labelNamespace = "namespace"
	labelPool      = "pool"
	labelOutcome   = "outcome"
	labelReason    = "reason"
	labelState     = "state"
	labelStage     = "stage"
	labelLoad      = "load"
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

	poolJobs = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "atelier_pool_pending_jobs",
		Help: "Jobs that wait for a runner of the pool.",
	}, []string{labelNamespace, labelPool})

	poolRunners = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "atelier_pool_runners",
		Help: "Runners of the pool, each in one state: pending (no node yet), starting, idle, busy, unready (with jobs, but not ready), draining (its node is being emptied) or terminating.",
	}, []string{labelNamespace, labelPool, labelState})

	runnersLost = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atelier_pool_runners_lost_total",
		Help: "Runners that were given up because they had jobs and nothing was heard of them for too long.",
	}, []string{labelNamespace, labelPool})

	bindings = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atelier_pool_bindings_total",
		Help: "Jobs that were given to a runner, by what it takes to have their model there: none (it is loaded), load or swap.",
	}, []string{labelNamespace, labelPool, labelLoad})
)

func init() {
	metrics.Registry.MustRegister(jobsFinished, attemptsFailed, queueDuration, runDuration, stageDuration, poolJobs, poolRunners, runnersLost, bindings)
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
	v1alpha1.ReasonInvalidRequest: true, v1alpha1.ReasonModelInvalid: true, v1alpha1.ReasonModelLoadFailed: true,
	v1alpha1.ReasonGenerationFailed: true, v1alpha1.ReasonSaveFailed: true, v1alpha1.ReasonPipelineUnhealthy: true,
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

// load is what it takes to have a job's model loaded on a runner.
type load string

const (
	loadNone load = "none"
	loadFull load = "load"
	loadSwap load = "swap"
)

// loadFor returns what it takes where a runner has one model and needs another.
func loadFor(has, needs schedule.Model) load {
	switch has {
	case needs:
		return loadNone
	case schedule.Model{}:
		return loadFull
	}
	return loadSwap
}

// countBindings records what a runner was given.
func countBindings(runner *v1alpha1.Runner, loads []load) {
	for _, l := range loads {
		bindings.WithLabelValues(runner.Namespace, runner.Spec.PoolName, string(l)).Inc()
	}
}

// The states of a runner.
const (
	statePending     = "pending"
	stateStarting    = "starting"
	stateIdle        = "idle"
	stateBusy        = "busy"
	stateUnready     = "unready"
	stateDraining    = "draining"
	stateTerminating = "terminating"
)

// stateOf returns the state of a runner that is not terminating.
func stateOf(m *member) string {
	switch {
	case m.drained != "":
		return stateDraining
	case m.ready() && m.jobs() > 0:
		return stateBusy
	case m.ready():
		return stateIdle
	case m.jobs() > 0:
		return stateUnready
	case m.pod.Spec.NodeName == "":
		return statePending
	}
	return stateStarting
}

// gaugePool records how a pool stands with the plan.
func gaugePool(pool types.NamespacedName, plan *poolPlan) {
	states := map[string]int{
		statePending: 0, stateStarting: 0, stateIdle: 0, stateBusy: 0, stateUnready: 0, stateDraining: 0,
		stateTerminating: len(plan.leaving),
	}
	for _, m := range plan.members {
		states[stateOf(m)]++
	}
	poolJobs.WithLabelValues(pool.Namespace, pool.Name).Set(float64(plan.pending))
	for state, n := range states {
		poolRunners.WithLabelValues(pool.Namespace, pool.Name, state).Set(float64(n))
	}
}

// forgetPool ends the series of a pool that is no more.
func forgetPool(pool types.NamespacedName) {
	labels := prometheus.Labels{labelNamespace: pool.Namespace, labelPool: pool.Name}
	poolJobs.DeletePartialMatch(labels)
	poolRunners.DeletePartialMatch(labels)
	runnersLost.DeletePartialMatch(labels)
	bindings.DeletePartialMatch(labels)
}
