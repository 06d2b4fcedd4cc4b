// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// +kubebuilder:rbac:groups=generation.atelier.dev,resources=generationjobs;models;runnerpools;runners,verbs=get;list;watch
// +kubebuilder:rbac:groups=generation.atelier.dev,resources=generationjobs,verbs=delete
// +kubebuilder:rbac:groups=generation.atelier.dev,resources=generationjobs/status,verbs=patch
// +kubebuilder:rbac:groups=scheduling.k8s.io,resources=priorityclasses,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch;update

// JobReconciler writes the status of GenerationJobs, and deletes those whose time to live is
// over. It is the only writer, and writes nothing else: what a runner is to do is the
// PoolReconciler's to say.
type JobReconciler struct {
	client.Client
	// Live reads from the API server. What can't be undone is decided by it.
	Live     client.Reader
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	Backoff  Backoff
	Bindings *Bindings
}

// Reconcile brings one job's status up to date: in one write, or in one for each phase that
// the job has passed meanwhile.
func (r *JobReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var job v1alpha1.GenerationJob
	if err := r.Get(ctx, req.NamespacedName, &job); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !job.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	view, err := r.gather(ctx, &job)
	if err != nil {
		return ctrl.Result{}, err
	}
	if wait := untilSettled(view); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	for _, step := range decideSteps(view) {
		if err := r.write(ctx, &job, step); err != nil {
			return ctrl.Result{}, err
		}
	}
	if jobFinished(&job) {
		return r.expire(ctx, &job)
	}
	return ctrl.Result{RequeueAfter: untilDue(&job, view.now)}, nil
}

// gather reads all that the job's status follows from.
func (r *JobReconciler) gather(ctx context.Context, job *v1alpha1.GenerationJob) (jobView, error) {
	view := jobView{job: job, backoff: r.Backoff, now: r.Clock.Now(), seed: drawSeed()}
	if jobFinished(job) {
		return view, nil
	}
	var err error
	if view.model, err = optional(ctx, r, types.NamespacedName{Namespace: job.Namespace, Name: job.Spec.ModelRef.Name}, &v1alpha1.Model{}); err != nil {
		return jobView{}, err
	}
	if view.pool, err = r.gatherPool(ctx, job); err != nil {
		return jobView{}, err
	}
	if class := className(job); class != "" {
		found, err := optional(ctx, r, types.NamespacedName{Name: class}, &schedulingv1.PriorityClass{})
		if err != nil {
			return jobView{}, err
		}
		view.classMissing = found == nil
	}
	if view.holdings, err = r.gatherHoldings(ctx, job); err != nil {
		return jobView{}, err
	}
	view.pod, err = r.gatherCrash(ctx, job, view.holdings)
	return view, err
}

// gatherHoldings reads what Runners hold of the job. Where the job's status is going to say
// that it is in no runner's hands, though no runner has confirmed that, the API server itself
// is asked, after all bindings that were on their way.
func (r *JobReconciler) gatherHoldings(ctx context.Context, job *v1alpha1.GenerationJob) ([]holding, error) {
	var runners v1alpha1.RunnerList
	inNamespace := client.InNamespace(poolKey(job).Namespace)
	err := r.List(ctx, &runners, inNamespace, client.MatchingFields{runnersByJob: string(job.UID)})
	if err == nil && len(runners.Items) == 0 && claimsFreedom(job) {
		r.Bindings.wait()
		err = r.Live.List(ctx, &runners, inNamespace)
	}
	return holdingsOf(runners.Items, job.UID), err
}

// gatherCrash reads the pod whose process crashed while it had the job; nil where none did.
func (r *JobReconciler) gatherCrash(ctx context.Context, job *v1alpha1.GenerationJob, holdings []holding) (*corev1.Pod, error) {
	bound := boundHolding(job, holdings)
	if !followed(job, bound) || bound.report == nil || bound.report.Error == nil || bound.report.Error.Reason != v1alpha1.ReasonRunnerCrashed {
		return nil, nil
	}
	pod, err := optional(ctx, r, types.NamespacedName{Namespace: poolKey(job).Namespace, Name: bound.runner.Name}, &corev1.Pod{})
	if err != nil || pod == nil || pod.UID != bound.runner.PodUID {
		return nil, err
	}
	return pod, nil
}

// gatherPool reads the job's pool. One that does not allow the job is as if it were not
// there.
func (r *JobReconciler) gatherPool(ctx context.Context, job *v1alpha1.GenerationJob) (*v1alpha1.RunnerPool, error) {
	pool, err := optional(ctx, r, poolKey(job), &v1alpha1.RunnerPool{})
	if err != nil || pool == nil {
		return nil, err
	}
	if allowed, err := gatherAllowed(ctx, r, pool, job.Namespace); err != nil || !allowed {
		return nil, err
	}
	return pool, nil
}

// optional reads an object that may be missing; then it returns nil.
func optional[T client.Object](ctx context.Context, reader client.Reader, key types.NamespacedName, into T) (T, error) {
	err := reader.Get(ctx, key, into)
	if apierrors.IsNotFound(err) {
		var none T
		return none, nil
	}
	return into, err
}

// write stores the status if it changed, then tells about it.
func (r *JobReconciler) write(ctx context.Context, job *v1alpha1.GenerationJob, status v1alpha1.GenerationJobStatus) error {
	if equality.Semantic.DeepEqual(job.Status, status) {
		return nil
	}
	before := job.DeepCopy()
	job.Status = status
	if err := r.Status().Patch(ctx, job, lockedPatch(before)); err != nil {
		return client.IgnoreNotFound(err)
	}
	countJob(job, &before.Status, &status)
	for _, e := range jobEvents(&before.Status, &status) {
		r.Recorder.Eventf(job, nil, e.kind, e.reason, e.action, "%s", e.note)
	}
	return nil
}

// lockedPatch makes a patch that is refused if the object is not the one that was read.
func lockedPatch(before client.Object) client.Patch {
	return client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
}

// untilDue is when time alone changes the job's status; zero where it does not.
func untilDue(job *v1alpha1.GenerationJob, now time.Time) time.Duration {
	var due time.Time
	if retry := job.Status.RetryTime; retry != nil && now.Before(retry.Time) {
		due = retry.Time
	}
	if next := nextDeadline(job, &job.Status); next != nil && (due.IsZero() || next.at.Before(due)) {
		due = next.at
	}
	return untilRecheck(due, now)
}

// drawSeed returns a seed that is easy to type: 32 bits.
func drawSeed() int64 {
	var b [4]byte
	rand.Read(b[:])
	return int64(binary.BigEndian.Uint32(b[:]))
}
