// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
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

// keys is a set of objects to look at again.
type keys = sets.Set[types.NamespacedName]

// enqueue makes an event handler from a function that says where the objects are. Of an
// update both the old and the new object are asked.
func enqueue[T client.Object](of func(context.Context, T) keys) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		requests := make([]reconcile.Request, 0, 1)
		for key := range of(ctx, o.(T)) {
			requests = append(requests, reconcile.Request{NamespacedName: key})
		}
		return requests
	})
}

// find lists what an event concerns. An error leaves the list empty.
func (w watches) find(ctx context.Context, list client.ObjectList, opts ...client.ListOption) {
	if err := w.List(ctx, list, opts...); err != nil {
		log.FromContext(ctx).Error(err, "Cannot look up what an event concerns", "kind", fmt.Sprintf("%T", list))
	}
}

// jobs returns the active jobs that an index finds.
func (w watches) jobs(ctx context.Context, index, value string, opts ...client.ListOption) []v1alpha1.GenerationJob {
	var jobs v1alpha1.GenerationJobList
	w.find(ctx, &jobs, append(opts, client.MatchingFields{index: value})...)
	return jobs.Items
}

// waiting are the jobs without a runner.
func waiting(jobs []v1alpha1.GenerationJob) keys {
	found := keys{}
	for _, job := range jobs {
		if !meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.ConditionScheduled) {
			found.Insert(client.ObjectKeyFromObject(&job))
		}
	}
	return found
}

// jobsOfModel are the waiting jobs that name the model.
func (w watches) jobsOfModel(ctx context.Context, model client.Object) keys {
	return waiting(w.jobs(ctx, activeJobsByModel, model.GetName(), client.InNamespace(model.GetNamespace())))
}

// jobsOfPool are the waiting jobs that name the pool.
func (w watches) jobsOfPool(ctx context.Context, pool *v1alpha1.RunnerPool) keys {
	return waiting(w.jobs(ctx, activeJobsByPool, client.ObjectKeyFromObject(pool).String()))
}

// jobsOfRunner are the jobs that a Runner holds, or had without their having ended. A job may
// have ended in between without its status ever having named the Runner.
func (w watches) jobsOfRunner(ctx context.Context, runner *v1alpha1.Runner) keys {
	found := keys{}
	for _, uid := range heldJobs(runner) {
		for _, job := range w.jobs(ctx, activeJobsByUID, uid) {
			found.Insert(client.ObjectKeyFromObject(&job))
		}
	}
	for _, job := range w.jobs(ctx, activeJobsByRunner, client.ObjectKeyFromObject(runner).String()) {
		found.Insert(client.ObjectKeyFromObject(&job))
	}
	return found
}

// jobsOfNamespace are the waiting jobs of a namespace whose pools choose namespaces by
// their labels.
func (w watches) jobsOfNamespace(ctx context.Context, namespace *corev1.Namespace) keys {
	found := keys{}
	for pool := range w.poolsBySelector(ctx, namespace) {
		found = found.Union(waiting(w.jobs(ctx, activeJobsByPool, pool.String(), client.InNamespace(namespace.Name))))
	}
	return found
}

// poolsBySelector are the pools that choose namespaces by their labels.
func (w watches) poolsBySelector(ctx context.Context, _ *corev1.Namespace) keys {
	var pools v1alpha1.RunnerPoolList
	w.find(ctx, &pools)
	found := keys{}
	for i := range pools.Items {
		if pool := &pools.Items[i]; fromNamespaces(pool) == v1alpha1.NamespacesFromSelector {
			found.Insert(client.ObjectKeyFromObject(pool))
		}
	}
	return found
}

// poolsOfNode are the pools that have pods on the node.
func (w watches) poolsOfNode(ctx context.Context, node *corev1.Node) keys {
	var pods corev1.PodList
	w.find(ctx, &pods, client.MatchingFields{podsByNode: node.Name})
	found := keys{}
	for _, pod := range pods.Items {
		found.Insert(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Labels[v1alpha1.LabelPool]})
	}
	return found
}

// jobsOfClass are the jobs that name the priority class.
func (w watches) jobsOfClass(ctx context.Context, class client.Object) keys {
	found := keys{}
	for _, job := range w.jobs(ctx, activeJobsByClass, class.GetName()) {
		found.Insert(client.ObjectKeyFromObject(&job))
	}
	return found
}

// poolsOfClass are the pools of the jobs that name the priority class.
func (w watches) poolsOfClass(ctx context.Context, class client.Object) keys {
	found := keys{}
	for _, job := range w.jobs(ctx, activeJobsByClass, class.GetName()) {
		found.Insert(poolKey(&job))
	}
	return found
}

// poolsOfModel are the pools that have jobs which name the model.
func (w watches) poolsOfModel(ctx context.Context, model client.Object) keys {
	found := keys{}
	for _, job := range w.jobs(ctx, activeJobsByModel, model.GetName(), client.InNamespace(model.GetNamespace())) {
		found.Insert(poolKey(&job))
	}
	return found
}

func poolOfJob(_ context.Context, job *v1alpha1.GenerationJob) keys {
	return sets.New(poolKey(job))
}

func poolOfRunner(_ context.Context, runner *v1alpha1.Runner) keys {
	return sets.New(types.NamespacedName{Namespace: runner.Namespace, Name: runner.Spec.PoolName})
}

// modelsOfRunner are the models that a runner has loaded or is to load, wherever they are.
func (w watches) modelsOfRunner(ctx context.Context, runner *v1alpha1.Runner) keys {
	found := keys{}
	for _, uid := range modelsOf(runner) {
		var models v1alpha1.ModelList
		w.find(ctx, &models, client.MatchingFields{modelsByUID: uid})
		for i := range models.Items {
			found.Insert(client.ObjectKeyFromObject(&models.Items[i]))
		}
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

// nodeForPool is what a pool has to know of a node.
func nodeForPool(node *corev1.Node) any {
	return struct {
		Unschedulable bool
		Taints        []corev1.Taint
	}{node.Spec.Unschedulable, node.Spec.Taints}
}

// namespaceForPool is what a pool, and those who wait for it, have to know of a namespace.
func namespaceForPool(namespace *corev1.Namespace) any { return namespace.Labels }

// runnerForModel is what a model has to know of a Runner.
func runnerForModel(runner *v1alpha1.Runner) any {
	var failures []v1alpha1.AssignmentError
	var digests []string
	for _, report := range runner.Status.Assignments {
		if report.Pull != nil {
			digests = append(digests, report.Pull.Digest)
		}
		if report.Error != nil && loadFailure(report.Error.Reason) {
			failures = append(failures, *report.Error)
		}
	}
	return struct {
		Model    *v1alpha1.LoadedModel
		Failures []v1alpha1.AssignmentError
		Digests  []string
	}{runner.Status.Model, failures, digests}
}

// poolForJob is what a waiting job has to know of its pool.
func poolForJob(pool *v1alpha1.RunnerPool) any {
	return struct {
		Generation int64
		Conditions []metav1.Condition
	}{pool.Generation, pool.Status.Conditions}
}
