// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// jobView is everything that the status of one job follows from.
type jobView struct {
	job *v1alpha1.GenerationJob
	// model and pool that the job names; nil where they do not exist, or the pool does not
	// allow the job.
	model *v1alpha1.Model
	pool  *v1alpha1.RunnerPool
	// classMissing means that the PriorityClass that the job names does not exist.
	classMissing bool
	// holdings is what Runners hold of the job.
	holdings []holding
	// pod of the runner that has the job, where its process crashed; nil elsewhere.
	pod *corev1.Pod
	// seed to record where neither the spec nor the status has one.
	seed    int64
	backoff Backoff
	now     time.Time
}

// holding is what one Runner holds of one job. The job is out of the runner's hands when
// there is none.
type holding struct {
	runner v1alpha1.RunnerBinding
	// processStart is when the runner's present process began; nil where it does not say.
	processStart *metav1.MicroTime
	// assignment from the Runner's spec; nil where it was taken away.
	assignment *v1alpha1.Assignment
	// report from the Runner's status; nil where there is none.
	report *v1alpha1.AssignmentReport
}

// decideJob returns the status that the job should have. One that has ended changes no more:
// it only notes the generation of a spec that was suspended or cancelled after the end.
func decideJob(view jobView) v1alpha1.GenerationJobStatus {
	d := newJobDecision(view)
	if jobFinished(view.job) {
		return *d.status
	}
	d.noteResumed()
	switch bound := boundHolding(view.job, view.holdings); {
	case endDecided(view.job):
		d.finishOnceReleased()
	case suspended(view.job):
		d.park()
	case followed(view.job, bound):
		d.follow(*bound)
	default:
		d.wait()
	}
	d.enterPhase()
	d.enforceDeadlines()
	d.summarize()
	return *d.status
}

// ends are the conditions of which a terminal job has one.
var ends = []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed, v1alpha1.ConditionCancelled}

// endOf returns the condition that makes a job terminal, nil where none does.
func endOf(status *v1alpha1.GenerationJobStatus) *metav1.Condition {
	for _, condition := range ends {
		if c := meta.FindStatusCondition(status.Conditions, condition); c != nil && c.Status == metav1.ConditionTrue {
			return c
		}
	}
	return nil
}

// jobFinished reports whether a job is terminal.
func jobFinished(job *v1alpha1.GenerationJob) bool { return endOf(&job.Status) != nil }

// endRecorded reports whether a status says that the job is going to be Complete or Failed.
func endRecorded(status *v1alpha1.GenerationJobStatus) bool {
	return meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionSuccessCriteriaMet) ||
		meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionFailureTarget)
}

// endDecided reports whether no runner is to have a job any more: its end is recorded, or
// it is cancelled, which can't be taken back.
func endDecided(job *v1alpha1.GenerationJob) bool { return endRecorded(&job.Status) || cancelled(job) }

// attemptOver reports whether the job's status says that the attempt has ended: a later
// one began, or its failure is recorded.
func attemptOver(job *v1alpha1.GenerationJob, attempt int32) bool {
	return attempt < job.Status.Attempt || attempt == job.Status.Attempt && job.Status.RetryTime != nil
}

// followed reports whether the job's status follows what the runner that has it says.
func followed(job *v1alpha1.GenerationJob, bound *holding) bool {
	return bound != nil && !endDecided(job) && !suspended(job) && !attemptOver(job, bound.assignment.Attempt)
}

// boundHolding returns the holding whose assignment counts, nil where no runner has the
// job. There is one at most, unless managers overlapped; then it is the one that the
// job's status knows, else the first.
func boundHolding(job *v1alpha1.GenerationJob, holdings []holding) *holding {
	var bound *holding
	for i, h := range holdings {
		if h.assignment == nil {
			continue
		}
		if bound == nil || job.Status.Runner != nil && h.runner == *job.Status.Runner {
			bound = &holdings[i]
		}
	}
	return bound
}

// jobDecision builds a job's next status.
type jobDecision struct {
	jobView
	status *v1alpha1.GenerationJobStatus
	// report of the bound attempt; nil where there is none.
	report *v1alpha1.AssignmentReport
}

// newJobDecision starts from the status as it is, completed with what a job has from first
// sight: every condition, and the seed.
func newJobDecision(view jobView) *jobDecision {
	d := &jobDecision{jobView: view, status: view.job.Status.DeepCopy()}
	d.status.ObservedGeneration = view.job.Generation
	for i := range d.status.Conditions {
		d.status.Conditions[i].ObservedGeneration = view.job.Generation
	}
	for _, c := range []struct{ condition, reason, message string }{
		{v1alpha1.ConditionScheduled, v1alpha1.ReasonWaitingForRunner, "no runner was looked for yet"},
		{v1alpha1.ConditionModelLoaded, v1alpha1.ReasonNotLoaded, "no runner has loaded the model for this job yet"},
		{v1alpha1.ConditionPipelineHealthy, v1alpha1.ReasonNotChecked, "no runner has checked its pipeline for this job yet"},
		{v1alpha1.ConditionComplete, v1alpha1.ReasonInProgress, "the job has not ended"},
		{v1alpha1.ConditionFailed, v1alpha1.ReasonInProgress, "the job has not ended"},
	} {
		if meta.FindStatusCondition(d.status.Conditions, c.condition) == nil {
			d.set(c.condition, metav1.ConditionUnknown, c.reason, c.message)
		}
	}
	if d.status.Seed == nil {
		d.status.Seed = new(ptr.Deref(view.job.Spec.Seed, view.seed))
	}
	return d
}

// set records a condition of the job's present generation.
func (d *jobDecision) set(condition string, status metav1.ConditionStatus, reason, message string) {
	setCondition(&d.status.Conditions, d.job.Generation, d.now, condition, status, reason, message)
}

// finishOnceReleased makes a decided end terminal as soon as no runner holds the job. An end
// that was recorded before the job was cancelled stands.
func (d *jobDecision) finishOnceReleased() {
	if len(d.holdings) > 0 {
		return
	}
	d.status.CompletionTime = new(metav1.NewTime(d.now))
	failure := meta.FindStatusCondition(d.status.Conditions, v1alpha1.ConditionFailureTarget)
	success := meta.FindStatusCondition(d.status.Conditions, v1alpha1.ConditionSuccessCriteriaMet)
	switch {
	case failure != nil:
		d.end(v1alpha1.ConditionFailed, failure.Reason, failure.Message)
	case success != nil:
		d.status.Progress = v1alpha1.ProgressSucceeded
		d.end(v1alpha1.ConditionComplete, success.Reason, success.Message)
	default:
		d.end(v1alpha1.ConditionCancelled, v1alpha1.ReasonCancelled, messageCancelled)
	}
}

// end makes the job terminal by one condition.
func (d *jobDecision) end(condition, reason, message string) {
	d.set(v1alpha1.ConditionComplete, metav1.ConditionFalse, reason, message)
	d.set(v1alpha1.ConditionFailed, metav1.ConditionFalse, reason, message)
	d.set(condition, metav1.ConditionTrue, reason, message)
}

// follow takes over what the runner that has the job says of the attempt.
func (d *jobDecision) follow(bound holding) {
	if bound.assignment.Attempt > d.status.Attempt || d.status.Runner == nil || *d.status.Runner != bound.runner {
		d.begin(bound)
	}
	report := bound.report
	if report == nil || report.Attempt != bound.assignment.Attempt {
		return
	}
	d.report = report
	d.mirror(report)
	switch report.Phase {
	case v1alpha1.PhaseSucceeded:
		d.succeed()
	case v1alpha1.PhaseFailed:
		d.fail(failureOf(bound, d.pod))
	}
}

// failureOf is why the bound attempt failed.
func failureOf(bound holding, pod *corev1.Pod) v1alpha1.AssignmentError {
	if bound.report.Error == nil {
		return v1alpha1.AssignmentError{
			Reason:    v1alpha1.ReasonGenerationFailed,
			Message:   "the runner did not say why the attempt failed",
			Retryable: true,
		}
	}
	return explainCrash(bound, pod)
}

// begin records that a runner has the job for a new attempt.
func (d *jobDecision) begin(bound holding) {
	d.status.Attempt = bound.assignment.Attempt
	d.status.Runner = &bound.runner
	d.status.RetryTime = nil
	d.status.Progress, d.status.Step, d.status.Steps = v1alpha1.ProgressPending, 0, 0
	d.restartStages(v1alpha1.PhasePending)
	if d.status.StartTime == nil {
		d.status.StartTime = new(metav1.NewTime(d.now))
	}
	d.set(v1alpha1.ConditionScheduled, metav1.ConditionTrue, v1alpha1.ReasonBound,
		fmt.Sprintf("runner %q has the job for attempt %d", bound.runner.Name, bound.assignment.Attempt))
	d.set(v1alpha1.ConditionModelLoaded, metav1.ConditionUnknown, v1alpha1.ReasonNotLoaded, "the runner has not begun to load the model")
	d.set(v1alpha1.ConditionPipelineHealthy, metav1.ConditionUnknown, v1alpha1.ReasonNotChecked, "the runner has not checked its pipeline")
}

// maxWarnings is the bound on status.warnings.
const maxWarnings = 32

// mirror copies progress, warnings and findings of the report. Progress stays below the
// end, which only the manager declares, and never goes down.
func (d *jobDecision) mirror(report *v1alpha1.AssignmentReport) {
	d.status.Step, d.status.Steps = max(d.status.Step, report.Step), report.Steps
	d.status.Progress = max(d.status.Progress, min(report.Progress, v1alpha1.ProgressSaving))
	for _, warning := range report.Warnings {
		if len(d.status.Warnings) < maxWarnings && !slices.Contains(d.status.Warnings, warning) {
			d.status.Warnings = append(d.status.Warnings, warning)
		}
	}
	if health := report.PipelineHealthy; health != nil {
		d.set(v1alpha1.ConditionPipelineHealthy, conditionStatus(health.Healthy), health.Reason, health.Message)
	}
	switch {
	case report.ModelLoaded:
		d.set(v1alpha1.ConditionModelLoaded, metav1.ConditionTrue, v1alpha1.ReasonLoaded, fmt.Sprintf("runner %q has the model loaded", d.status.Runner.Name))
	case report.Error != nil && loadFailure(report.Error.Reason):
		d.set(v1alpha1.ConditionModelLoaded, metav1.ConditionFalse, report.Error.Reason, report.Error.Message)
	case report.Phase == v1alpha1.PhaseModelLoading:
		d.set(v1alpha1.ConditionModelLoaded, metav1.ConditionFalse, v1alpha1.ReasonLoading, fmt.Sprintf("runner %q is %s", d.status.Runner.Name, loadProgress(report.Pull)))
	}
}

// loadFailure reports whether an attempt that failed for the reason could not load its model.
func loadFailure(reason string) bool {
	switch reason {
	case v1alpha1.ReasonModelInvalid, v1alpha1.ReasonModelTooLarge, v1alpha1.ReasonModelLoadFailed,
		v1alpha1.ReasonModelPullFailed, v1alpha1.ReasonModelVerifyFailed, v1alpha1.ReasonCacheFull:
		return true
	}
	return false
}

// loadProgress says how far a model is on its way, as in "is fetching the model: …".
func loadProgress(pull *v1alpha1.ModelPull) string {
	const megabyte = 1e6
	switch {
	case pull == nil, pull.TotalBytes > 0 && pull.DoneBytes >= pull.TotalBytes:
		return "loading the model"
	case pull.TotalBytes == 0:
		return fmt.Sprintf("fetching the model: %.1f MB so far", float64(pull.DoneBytes)/megabyte)
	}
	return fmt.Sprintf("fetching the model: %.1f of %.1f MB", float64(pull.DoneBytes)/megabyte, float64(pull.TotalBytes)/megabyte)
}

// succeed records the outputs and that the job is going to be Complete.
func (d *jobDecision) succeed() {
	d.status.Outputs = d.report.Outputs
	d.status.Progress = v1alpha1.ProgressSaving
	d.set(v1alpha1.ConditionSuccessCriteriaMet, metav1.ConditionTrue, v1alpha1.ReasonSucceeded,
		fmt.Sprintf("%s written", count(len(d.report.Outputs), "picture")))
}

// fail records the failure of the attempt: the job is going to be Failed, or it is tried
// again.
func (d *jobDecision) fail(e v1alpha1.AssignmentError) {
	limit := ptr.Deref(d.job.Spec.BackoffLimit, v1alpha1.DefaultBackoffLimit)
	v := judge(e, d.status.Failures, lostAttempts(d.status)-1, limit, d.backoff)
	if v.counted {
		d.status.Failures++
	}
	if v.final {
		d.set(v1alpha1.ConditionFailureTarget, metav1.ConditionTrue, v.reason, v.message)
		return
	}
	d.retryIn(v.delay, v.reason, v.message)
}

// retryIn records that an attempt ended, why, and when the next may begin.
func (d *jobDecision) retryIn(delay time.Duration, reason, message string) {
	retry := ceilSecond(d.now.Add(delay))
	d.status.RetryTime = new(metav1.NewTime(retry))
	d.set(v1alpha1.ConditionScheduled, metav1.ConditionFalse, v1alpha1.ReasonBackoff,
		fmt.Sprintf("attempt %d ended with %s: %s; the next may begin at %s", d.status.Attempt, reason, message, retry.UTC().Format(time.RFC3339)))
}

// wait says what the job waits for. A recorded failure is said until the next attempt may
// begin.
func (d *jobDecision) wait() {
	d.noteLoss()
	if retry := d.status.RetryTime; retry != nil && (len(d.holdings) > 0 || d.now.Before(retry.Time)) {
		return
	}
	reason, message := d.obstacle()
	d.set(v1alpha1.ConditionScheduled, metav1.ConditionFalse, reason, message)
}

// obstacle is the first thing that keeps the job from a runner. Of a pool in another
// namespace it says no more than that it gave none: how it stands is not for neighbours.
func (d *jobDecision) obstacle() (reason, message string) {
	key := poolKey(d.job)
	pool, foreign := key.Name, key.Namespace != d.job.Namespace
	switch {
	case len(d.holdings) > 0:
		return v1alpha1.ReasonReleasing, fmt.Sprintf("runner %q has still to confirm that it let go of the job", d.holdings[0].runner.Name)
	case d.model == nil:
		return v1alpha1.ReasonModelNotFound, fmt.Sprintf("there is no Model %q in namespace %q", d.job.Spec.ModelRef.Name, d.job.Namespace)
	case d.classMissing:
		return v1alpha1.ReasonPriorityClassNotFound, fmt.Sprintf("there is no PriorityClass %q", *d.job.Spec.PriorityClassName)
	case d.pool == nil && key.Namespace != d.job.Namespace:
		return v1alpha1.ReasonNotAllowedByPool, fmt.Sprintf("no RunnerPool %q in namespace %q allows jobs from namespace %q", pool, key.Namespace, d.job.Namespace)
	case d.pool == nil:
		return v1alpha1.ReasonPoolNotFound, fmt.Sprintf("there is no RunnerPool %q in namespace %q", pool, key.Namespace)
	case !hasStore(d.job, d.pool):
		return v1alpha1.ReasonStoreNotFound, fmt.Sprintf("spec.output.store: RunnerPool %q has no store %q that may be written to", pool, storeName(d.job, d.pool))
	case ptr.Deref(d.pool.Spec.Suspend, false):
		return v1alpha1.ReasonPoolSuspended, fmt.Sprintf("RunnerPool %q is suspended", pool)
	case foreign:
		return v1alpha1.ReasonWaitingForRunner, fmt.Sprintf("RunnerPool %q in namespace %q has not given it a runner yet", pool, key.Namespace)
	}
	switch ready := meta.FindStatusCondition(d.pool.Status.Conditions, v1alpha1.ConditionReady); {
	case ready == nil:
		return v1alpha1.ReasonWaitingForRunner, fmt.Sprintf("RunnerPool %q was not looked at yet", pool)
	case ready.Reason == v1alpha1.ReasonInvalidTemplate:
		return v1alpha1.ReasonPoolInvalid, fmt.Sprintf("RunnerPool %q can't start runners: %s", pool, ready.Message)
	// A pool with invalid namespaces serves its own all the same, and one with an invalid
	// duration all.
	case ready.Status != metav1.ConditionTrue && activityOf(ready.Reason) != v1alpha1.ConditionStalled:
		return v1alpha1.ReasonWaitingForRunner, fmt.Sprintf("RunnerPool %q has no free runner yet: %s", pool, ready.Message)
	}
	return v1alpha1.ReasonWaitingForRunner, fmt.Sprintf("no runner of RunnerPool %q is free yet (maxRunners is %d)",
		pool, ptr.Deref(d.pool.Spec.MaxRunners, v1alpha1.DefaultMaxRunners))
}

// summarize derives the three conditions that kstatus reads. A job that ended without
// pictures is stalled, cancelled ones included: who waits for pictures must not take it for
// done. A suspended one is neither stalled nor in progress, so it has none of the three.
func (d *jobDecision) summarize() {
	end := endOf(d.status)
	parked := meta.IsStatusConditionTrue(d.status.Conditions, v1alpha1.ConditionSuspended)
	if end == nil && !parked {
		reason, message := d.activity()
		d.set(v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)
		d.set(v1alpha1.ConditionReconciling, metav1.ConditionTrue, reason, message)
		return
	}
	meta.RemoveStatusCondition(&d.status.Conditions, v1alpha1.ConditionReconciling)
	switch {
	case end == nil:
		meta.RemoveStatusCondition(&d.status.Conditions, v1alpha1.ConditionReady)
	case end.Type == v1alpha1.ConditionComplete:
		d.set(v1alpha1.ConditionReady, metav1.ConditionTrue, end.Reason, end.Message)
	default:
		reason, message := end.Reason, end.Message
		d.set(v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)
		d.set(v1alpha1.ConditionStalled, metav1.ConditionTrue, reason, message)
	}
}

// activity says what goes on with a job that has not ended.
func (d *jobDecision) activity() (reason, message string) {
	scheduled := meta.FindStatusCondition(d.status.Conditions, v1alpha1.ConditionScheduled)
	if scheduled.Status != metav1.ConditionTrue {
		return scheduled.Reason, scheduled.Message
	}
	runner := d.status.Runner.Name
	if why := d.released(); why != "" {
		return v1alpha1.ReasonReleasing, fmt.Sprintf("%s; runner %q has still to confirm that it let go of the job", why, runner)
	}
	if d.report == nil {
		return v1alpha1.ReasonWaitingForRunner, fmt.Sprintf("runner %q has still to take the job", runner)
	}
	return v1alpha1.ReasonInProgress, fmt.Sprintf("%s on runner %q", d.status.Phase, runner)
}

// released says why the runner that has the job is to let go of it; empty where it is not.
func (d *jobDecision) released() string {
	for _, end := range []string{v1alpha1.ConditionSuccessCriteriaMet, v1alpha1.ConditionFailureTarget} {
		if c := meta.FindStatusCondition(d.status.Conditions, end); c != nil {
			return c.Message
		}
	}
	switch {
	case cancelled(d.job):
		return messageCancelled
	case suspended(d.job):
		return messageSuspended
	}
	return ""
}
