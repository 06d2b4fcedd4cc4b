// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"

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
// +kubebuilder:rbac:groups=generation.atelier.dev,resources=generationjobs/status,verbs=patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch;update

// JobReconciler writes the status of GenerationJobs. It is the only writer, and writes
// nothing else: what a runner is to do is the PoolReconciler's to say.
type JobReconciler struct {
	client.Client
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	Backoff  Backoff
}

// Reconcile brings one job's status up to date: in one write, or in one for each phase that
// the job has passed meanwhile.
func (r *JobReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var job v1alpha1.GenerationJob
	if err := r.Get(ctx, req.NamespacedName, &job); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !job.DeletionTimestamp.IsZero() || jobFinished(&job) {
		return ctrl.Result{}, nil
	}
	view, err := r.gather(ctx, &job)
	if err != nil {
		return ctrl.Result{}, err
	}
	for _, step := range decideSteps(view) {
		if err := r.write(ctx, &job, step); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{RequeueAfter: untilRetry(&job.Status, view.now)}, nil
}

// gather reads all that the job's status follows from.
func (r *JobReconciler) gather(ctx context.Context, job *v1alpha1.GenerationJob) (jobView, error) {
	view := jobView{job: job, backoff: r.Backoff, now: r.Clock.Now(), seed: drawSeed()}
	var err error
	if view.model, err = optional(ctx, r, types.NamespacedName{Namespace: job.Namespace, Name: job.Spec.ModelRef.Name}, &v1alpha1.Model{}); err != nil {
		return jobView{}, err
	}
	if view.pool, err = optional(ctx, r, types.NamespacedName{Namespace: job.Namespace, Name: poolName(job)}, &v1alpha1.RunnerPool{}); err != nil {
		return jobView{}, err
	}
	var runners v1alpha1.RunnerList
	if err := r.List(ctx, &runners, client.InNamespace(job.Namespace), client.MatchingFields{runnersByJob: string(job.UID)}); err != nil {
		return jobView{}, err
	}
	view.holdings = holdingsOf(runners.Items, job.UID)
	return view, nil
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

// untilRetry is when time alone changes what the job waits for; zero where it does not.
func untilRetry(status *v1alpha1.GenerationJobStatus, now time.Time) time.Duration {
	if status.RetryTime == nil {
		return 0
	}
	return max(0, status.RetryTime.Sub(now))
}

// drawSeed returns a seed that is easy to type: 32 bits.
func drawSeed() int64 {
	var b [4]byte
	rand.Read(b[:])
	return int64(binary.BigEndian.Uint32(b[:]))
}
