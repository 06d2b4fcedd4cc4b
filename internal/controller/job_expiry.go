// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// expiryOf returns when a job that has ended is to be deleted, and whether it ever is.
func expiryOf(job *v1alpha1.GenerationJob) (time.Time, bool) {
	ttl, end := job.Spec.TTLSecondsAfterFinished, job.Status.CompletionTime
	if ttl == nil || end == nil || !jobFinished(job) {
		return time.Time{}, false
	}
	return end.Add(time.Duration(*ttl) * time.Second), true
}

// expire deletes a job that has ended when its time to live is over. What the cache says is
// not enough to delete something for good: the API server is asked for the job, and deletes
// exactly the one that it showed.
func (r *JobReconciler) expire(ctx context.Context, job *v1alpha1.GenerationJob) (ctrl.Result, error) {
	expiry, expires := expiryOf(job)
	if now := r.Clock.Now(); !expires || now.Before(expiry) {
		return ctrl.Result{RequeueAfter: max(0, expiry.Sub(now))}, nil
	}
	live, err := optional(ctx, r.Live, client.ObjectKeyFromObject(job), &v1alpha1.GenerationJob{})
	if err != nil || live == nil || live.UID != job.UID {
		return ctrl.Result{}, err
	}
	if expiry, expires := expiryOf(live); !expires || r.Clock.Now().Before(expiry) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(r.Delete(ctx, live, client.Preconditions{UID: &live.UID, ResourceVersion: &live.ResourceVersion}))
}
