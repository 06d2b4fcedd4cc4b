// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// refusedError is the API server's refusal to create what a runner consists of.
type refusedError struct {
	what string
	err  error
}

func (e *refusedError) Error() string { return fmt.Sprintf("%s was not created: %v", e.what, e.err) }

func (e *refusedError) Unwrap() error { return e.err }

// refusal returns the refusal in err, empty where there is none.
func refusal(err error) string {
	if refused := new(refusedError); errors.As(err, &refused) {
		return refused.Error()
	}
	return ""
}

// apply carries out the plan. It stops at the first error: what is left follows from the
// state of the cluster when the pool is looked at again.
func (r *PoolReconciler) apply(ctx context.Context, view *poolView, plan *poolPlan) error {
	for _, runner := range plan.lost {
		if err := r.delete(ctx, runner); err != nil {
			return err
		}
	}
	for _, lost := range plan.silent {
		if err := r.deleteSilent(ctx, view.pool, lost); err != nil {
			return err
		}
	}
	for _, pod := range slices.Concat(plan.finished, plan.remove) {
		if err := r.delete(ctx, pod); err != nil {
			return err
		}
	}
	for _, pod := range plan.mailboxes {
		if err := r.createOwned(ctx, pod, mailbox(view.pool, pod)); err != nil {
			return err
		}
	}
	if err := r.assignAll(ctx, plan.changes, view.now); err != nil {
		return err
	}
	for _, m := range plan.members {
		if err := r.ensureIdentity(ctx, view.pool, m.ordinal); err != nil {
			return err
		}
	}
	for _, ordinal := range plan.create {
		if err := r.createRunner(ctx, view, ordinal); err != nil {
			return err
		}
	}
	return nil
}

// deleteSilent removes a pod whose runner can't be relied on any more, and tells about it.
func (r *PoolReconciler) deleteSilent(ctx context.Context, pool *v1alpha1.RunnerPool, lost lostRunner) error {
	if err := r.delete(ctx, lost.pod); err != nil {
		return err
	}
	runnersLost.WithLabelValues(pool.Namespace, pool.Name).Inc()
	r.Recorder.Eventf(pool, lost.pod, corev1.EventTypeWarning, v1alpha1.ReasonRunnerLost, actionDelete,
		"pod %q is deleted, as its runner %s", lost.pod.Name, lost.why)
	return nil
}

// delete removes exactly the object that the plan is about, not a later one of its name. That
// there is a later one is an error: the plan was made from old news.
func (r *PoolReconciler) delete(ctx context.Context, object client.Object) error {
	uid := object.GetUID()
	return client.IgnoreNotFound(r.Delete(ctx, object, client.Preconditions{UID: &uid}))
}

// assignAll writes the assignments of all Runners that change, several at a time: what a
// runner gets was decided, so that the order of the writes does not matter, and hundreds of
// runners are not to wait for each other's. After an error no further write begins. One at a
// time is on the caller's goroutine and in order, for tests that end the manager at a write.
func (r *PoolReconciler) assignAll(ctx context.Context, changes []change, now time.Time) error {
	if r.ConcurrentWrites <= 1 {
		for _, c := range changes {
			if err := r.assign(ctx, c, now); err != nil {
				return err
			}
		}
		return nil
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(r.ConcurrentWrites)
	for _, c := range changes {
		group.Go(func() error {
			if groupCtx.Err() != nil {
				return nil
			}
			// Not the group's context: a write that is cut off may have happened.
			return r.assign(ctx, c, now)
		})
	}
	return group.Wait()
}

// assign writes the assignments of one Runner. The write is refused if the Runner is not
// the one that the plan was made for.
func (r *PoolReconciler) assign(ctx context.Context, c change, now time.Time) error {
	if len(c.bound) > 0 {
		defer r.Bindings.begin()()
	}
	for _, job := range c.bound {
		if err := r.confirm(ctx, job, now); err != nil {
			return err
		}
	}
	runner := c.member.runner.DeepCopy()
	runner.Spec.Assignments, runner.Spec.Prefetch = c.member.assignments, c.member.prefetch
	if c.released {
		metav1.SetMetaDataAnnotation(&runner.ObjectMeta, v1alpha1.AnnotationIdleSince, now.UTC().Format(time.RFC3339))
	}
	err := r.Patch(ctx, runner, lockedPatch(c.member.runner))
	if err != nil && !apierrors.IsConflict(err) {
		r.doubts.add(c.member.runner)
	}
	if err == nil {
		countBindings(runner, c.loads)
	}
	return client.IgnoreNotFound(err)
}

// confirm asks the API server whether the job may still begin the attempt that is about to
// be bound: the cache of a manager that has just taken over may be older than the end that
// its predecessor recorded.
func (r *PoolReconciler) confirm(ctx context.Context, job *v1alpha1.GenerationJob, now time.Time) error {
	live, err := optional(ctx, r.Live, client.ObjectKeyFromObject(job), &v1alpha1.GenerationJob{})
	if err != nil {
		return err
	}
	if live == nil || live.UID != job.UID || live.Status.Attempt != job.Status.Attempt || !mayBegin(live, now) {
		return fmt.Errorf("job %q changed since it was read; it is bound when the cache has caught up", job.Name)
	}
	return nil
}

// createRunner makes what the runner of an ordinal consists of, the pod last.
func (r *PoolReconciler) createRunner(ctx context.Context, view *poolView, ordinal int) error {
	if err := r.ensureIdentity(ctx, view.pool, ordinal); err != nil {
		return err
	}
	pod := runnerPod(view.pool, view.template, ordinal)
	if err := r.createOwned(ctx, view.pool, pod); err != nil {
		return &refusedError{what: fmt.Sprintf("pod %q", pod.Name), err: err}
	}
	return nil
}

// ensureIdentity makes or mends the service account, role and role binding of a runner.
func (r *PoolReconciler) ensureIdentity(ctx context.Context, pool *v1alpha1.RunnerPool, ordinal int) error {
	for _, want := range identity(pool, ordinal) {
		have := want.DeepCopyObject().(client.Object)
		err := r.Get(ctx, client.ObjectKeyFromObject(want), have)
		switch {
		case apierrors.IsNotFound(err):
			err = r.createOwned(ctx, pool, want)
		case err == nil:
			err = r.mend(ctx, pool, have, want)
		}
		if err != nil {
			return &refusedError{what: fmt.Sprintf("%T %q", want, want.GetName()), err: err}
		}
	}
	return nil
}

// mend gives a role the rules that it should have, and an account the annotations. The
// role binding has nothing that an older manager, or one that knew an older pool, could have
// made otherwise.
func (r *PoolReconciler) mend(ctx context.Context, pool *v1alpha1.RunnerPool, have, want client.Object) error {
	switch have := have.(type) {
	case *rbacv1.Role:
		if rules := want.(*rbacv1.Role).Rules; !equality.Semantic.DeepEqual(have.Rules, rules) {
			have.Rules = rules
			return r.Update(ctx, have)
		}
	case *corev1.ServiceAccount:
		annotations := annotated(have.Annotations, pool.Spec.ServiceAccountAnnotations)
		if !equality.Semantic.DeepEqual(have.Annotations, annotations) {
			before := have.DeepCopy()
			have.Annotations = annotations
			return r.Patch(ctx, have, lockedPatch(before))
		}
	}
	return nil
}

// createOwned creates an object that goes away with its owner. That it exists already is
// right if it is the owner's: then the cache has not caught up.
func (r *PoolReconciler) createOwned(ctx context.Context, owner, object client.Object) error {
	// Blocking the owner's deletion would ask for a permission and gain nothing.
	err := controllerutil.SetControllerReference(owner, object, r.Scheme(), controllerutil.WithBlockOwnerDeletion(false))
	if err != nil {
		return err
	}
	existing := object.DeepCopyObject().(client.Object)
	if err := r.Create(ctx, object); !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(object), existing); err != nil {
		return err
	}
	if !metav1.IsControlledBy(existing, owner) {
		return fmt.Errorf("there is one of that name that does not belong to %q", owner.GetName())
	}
	return nil
}
