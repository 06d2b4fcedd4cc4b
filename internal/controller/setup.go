// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controller is the manager: it gives GenerationJobs to Runners, mirrors what
// they report, and runs the pods of RunnerPools.
//
// Each reconciler gathers what it needs to know into one value, decides with a pure
// function, and applies the decision. Who writes what:
//
//	JobReconciler    GenerationJob.status
//	PoolReconciler   Runner.spec, pods and their identities, RunnerPool.status
//	ModelReconciler  Model.status
//
// A job ends in steps, each recorded before the next begins, so that a manager may die at
// any of them: the outputs or the failure are written to the job's status
// (SuccessCriteriaMet or FailureTarget), the assignment is taken from the Runner, the
// runner drops its report or its pod is gone, and the job becomes Complete or Failed.
package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// Options configure the controllers.
type Options struct {
	// RunnerImage is the image of runners whose pool names none.
	RunnerImage string
	// Backoff of jobs whose attempt failed.
	Backoff Backoff
}

// NewScheme knows every kind that the manager handles.
func NewScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// CacheOptions keep the cache to what the manager made itself of the kinds that others
// make too, and to what it looks at of nodes.
func CacheOptions() cache.Options {
	own := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{labelManagedBy: managedBy})}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:            own,
			&corev1.ServiceAccount{}: own,
			&rbacv1.Role{}:           own,
			&rbacv1.RoleBinding{}:    own,
			&corev1.Node{}:           {Transform: stripNode},
		},
	}
}

// stripNode drops what takes room in a node and is not looked at.
func stripNode(o any) (any, error) {
	if node, ok := o.(*corev1.Node); ok {
		node.ManagedFields, node.Annotations, node.Status = nil, nil, corev1.NodeStatus{}
	}
	return o, nil
}

// ClientOptions make reads wait for the cache to have seen the manager's own writes, so
// that nothing is done twice for want of news.
func ClientOptions() client.Options {
	return client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: new(true)}}
}

// How many objects of a kind are worked on at a time.
const (
	concurrentJobs   = 16
	concurrentPools  = 4
	concurrentModels = 2
)

// concurrentWrites is how many Runners of a pool are written to at a time.
const concurrentWrites = 16

// Setup adds the controllers to the manager.
func Setup(ctx context.Context, mgr ctrl.Manager, options Options) error {
	if err := addIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	w := watches{mgr.GetClient()}
	bindings := &Bindings{}
	if err := setupJobs(mgr, w, options, bindings); err != nil {
		return err
	}
	if err := setupPools(mgr, w, options, bindings); err != nil {
		return err
	}
	return setupModels(mgr, w)
}

func setupJobs(mgr ctrl.Manager, w watches, options Options, bindings *Bindings) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("generationjob").
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrentJobs}).
		For(&v1alpha1.GenerationJob{}).
		Watches(&v1alpha1.Model{}, enqueue(w.jobsOfModel), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.RunnerPool{}, enqueue(w.jobsOfPool), builder.WithPredicates(changed(poolForJob))).
		Watches(&v1alpha1.Runner{}, enqueue(w.jobsOfRunner)).
		Watches(&schedulingv1.PriorityClass{}, enqueue(w.jobsOfClass), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Namespace{}, enqueue(w.jobsOfNamespace), builder.WithPredicates(changed(namespaceForPool))).
		Complete(&JobReconciler{
			Client:   mgr.GetClient(),
			Live:     mgr.GetAPIReader(),
			Bindings: bindings,
			Recorder: mgr.GetEventRecorder(managedBy),
			Clock:    clock.RealClock{},
			Backoff:  options.Backoff,
		})
}

func setupPools(mgr ctrl.Manager, w watches, options Options, bindings *Bindings) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("runnerpool").
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrentPools}).
		For(&v1alpha1.RunnerPool{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&corev1.Pod{}).
		Owns(&corev1.ServiceAccount{}).
		Owns(&rbacv1.Role{}).
		Owns(&rbacv1.RoleBinding{}).
		Watches(&v1alpha1.GenerationJob{}, enqueue(poolOfJob), builder.WithPredicates(changed(jobForPool))).
		Watches(&v1alpha1.Runner{}, enqueue(poolOfRunner), builder.WithPredicates(changed(runnerForPool))).
		Watches(&v1alpha1.Model{}, enqueue(w.poolsOfModel), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&schedulingv1.PriorityClass{}, enqueue(w.poolsOfClass), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Namespace{}, enqueue(w.poolsBySelector), builder.WithPredicates(changed(namespaceForPool))).
		Watches(&corev1.Node{}, enqueue(w.poolsOfNode), builder.WithPredicates(changed(nodeForPool))).
		Complete(&PoolReconciler{
			Client:   mgr.GetClient(),
			Live:     mgr.GetAPIReader(),
			Recorder: mgr.GetEventRecorder(managedBy),
			Clock:    clock.RealClock{},
			Image:    options.RunnerImage,
			Bindings: bindings,

			ConcurrentWrites: concurrentWrites,
		})
}

func setupModels(mgr ctrl.Manager, w watches) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("model").
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrentModels}).
		For(&v1alpha1.Model{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Runner{}, enqueue(w.modelsOfRunner), builder.WithPredicates(changed(runnerForModel))).
		Complete(&ModelReconciler{Client: mgr.GetClient(), Clock: clock.RealClock{}})
}
