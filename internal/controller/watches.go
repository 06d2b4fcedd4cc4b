// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// watches says which objects have to be looked at again when another changed.
type watches struct {
	client.Reader
}

// names is a set of objects of one namespace to look at again.
type names = sets.Set[string]

// enqueue makes an event handler from a function that names objects in the namespace of
// the object that changed. Of an update both the old and the new object are asked.
func enqueue[T client.Object](of func(context.Context, T) names) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		found := sets.List(of(ctx, o.(T)))
		requests := make([]reconcile.Request, 0, len(found))
		for _, name := range found {
			requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}})
		}
		return requests
	})
}

// jobs returns the active jobs that an index finds.
func (w watches) jobs(ctx context.Context, namespace, index, value string) []v1alpha1.GenerationJob {
	var jobs v1alpha1.GenerationJobList
	if err := w.List(ctx, &jobs, client.InNamespace(namespace), client.MatchingFields{index: value}); err != nil {
		log.FromContext(ctx).Error(err, "Cannot look up the jobs that an event concerns", "index", index, "value", value)
		return nil
	}
	return jobs.Items
}

// waitingJobs are the jobs without a runner among those that an index finds.
func (w watches) waitingJobs(index string) func(context.Context, client.Object) names {
	return func(ctx context.Context, o client.Object) names {
		found := names{}
		for _, job := range w.jobs(ctx, o.GetNamespace(), index, o.GetName()) {
			if !meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.ConditionScheduled) {
				found.Insert(job.Name)
			}
		}
		return found
	}
}

// jobsOfRunner are the jobs that a Runner holds, or had without their having ended. A job may
// have ended in between without its status ever having named the Runner.
func (w watches) jobsOfRunner(ctx context.Context, runner *v1alpha1.Runner) names {
	found := names{}
	for _, uid := range heldJobs(runner) {
		for _, job := range w.jobs(ctx, runner.Namespace, activeJobsByUID, uid) {
			found.Insert(job.Name)
		}
	}
	for _, job := range w.jobs(ctx, runner.Namespace, activeJobsByRunner, runner.Name) {
		found.Insert(job.Name)
	}
	return found
}

// enqueueOfClass makes an event handler for PriorityClasses, which have no namespace, from a
// function that names an object in the namespace of a job that names the class.
func (w watches) enqueueOfClass(of func(*v1alpha1.GenerationJob) string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, class client.Object) []reconcile.Request {
		found := sets.New[reconcile.Request]()
		for _, job := range w.jobs(ctx, metav1.NamespaceAll, activeJobsByClass, class.GetName()) {
			found.Insert(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: job.Namespace, Name: of(&job)}})
		}
		return found.UnsortedList()
	})
}

func jobName(job *v1alpha1.GenerationJob) string { return job.Name }

// poolsOfModel are the pools that have jobs which name the model.
func (w watches) poolsOfModel(ctx context.Context, model client.Object) names {
	found := names{}
	for _, job := range w.jobs(ctx, model.GetNamespace(), activeJobsByModel, model.GetName()) {
		found.Insert(poolName(&job))
	}
	return found
}

func poolOfJob(_ context.Context, job *v1alpha1.GenerationJob) names {
	return sets.New(poolName(job))
}

func poolOfRunner(_ context.Context, runner *v1alpha1.Runner) names {
	return sets.New(runner.Spec.PoolName)
}

// modelsOfRunner are the models that a runner has loaded or is to load.
func modelsOfRunner(_ context.Context, runner *v1alpha1.Runner) names {
	found := names{}
	if loaded := runner.Status.Model; loaded != nil {
		found.Insert(loaded.Name)
	}
	for _, a := range runner.Spec.Assignments {
		found.Insert(a.Model.Name)
	}
	return found
}

// changed lets an update pass if what view makes of the object differs. It keeps the
// progress of jobs, which changes all the time, from those who have no use for it.
func changed[T client.Object](view func(T) any) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return !equality.Semantic.DeepEqual(view(e.ObjectOld.(T)), view(e.ObjectNew.(T)))
	}}
}

// jobForPool is what a pool has to know of a job.
func jobForPool(job *v1alpha1.GenerationJob) any {
	return struct {
		Seed      *int64
		Attempt   int32
		Retry     *metav1.Time
		Decided   bool
		Suspended bool
		Finished  bool
		Deleting  bool
	}{
		job.Status.Seed, job.Status.Attempt, job.Status.RetryTime,
		endDecided(job), suspended(job), jobFinished(job), !job.DeletionTimestamp.IsZero(),
	}
}

// runnerForPool is what a pool has to know of a Runner.
func runnerForPool(runner *v1alpha1.Runner) any {
	return struct {
		Generation int64
		Ready      *metav1.Condition
		Model      *v1alpha1.LoadedModel
		Jobs       []string
		Deleting   bool
	}{
		runner.Generation,
		meta.FindStatusCondition(runner.Status.Conditions, v1alpha1.ConditionReady),
		runner.Status.Model,
		heldJobs(runner),
		!runner.DeletionTimestamp.IsZero(),
	}
}

// runnerForModel is what a model has to know of a Runner.
func runnerForModel(runner *v1alpha1.Runner) any {
	var failures []v1alpha1.AssignmentError
	for _, report := range runner.Status.Assignments {
		if report.Error != nil && loadFailure(report.Error.Reason) {
			failures = append(failures, *report.Error)
		}
	}
	return struct {
		Model    *v1alpha1.LoadedModel
		Failures []v1alpha1.AssignmentError
	}{runner.Status.Model, failures}
}

// poolForJob is what a waiting job has to know of its pool.
func poolForJob(pool *v1alpha1.RunnerPool) any {
	return struct {
		Generation int64
		Conditions []metav1.Condition
	}{pool.Generation, pool.Status.Conditions}
}
