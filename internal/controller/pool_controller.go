// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// +kubebuilder:rbac:groups=generation.atelier.dev,resources=runnerpools/status,verbs=patch
// +kubebuilder:rbac:groups=generation.atelier.dev,resources=runners,verbs=create;patch;delete
// +kubebuilder:rbac:groups="",resources=namespaces;nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles,verbs=get;list;watch;create;update
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings,verbs=get;list;watch;create

// The manager holds what it grants to runners, as the API server lets nobody grant more
// than they have.
// +kubebuilder:rbac:groups=generation.atelier.dev,resources=runners/status,verbs=update;patch

// PoolReconciler runs a pool: its pods and their identities, its Runners, and which job is
// on which Runner. It is the only writer of Runner specs and works on one pool at a time,
// so the order of the queue needs no agreement between writers.
type PoolReconciler struct {
	client.Client
	// Live reads from the API server. What can't be undone is decided by it.
	Live     client.Reader
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// Image of runners whose pool names none.
	Image    string
	Bindings *Bindings
	// ConcurrentWrites is how many Runners are written to at a time; 0 is one.
	ConcurrentWrites int

	doubts    doubts
	counts    lateCounts
	overtakes overtakes
	takenOver takenOver
}

// Reconcile brings one pool's runners, and their jobs, up to date.
func (r *PoolReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var pool v1alpha1.RunnerPool
	if err := r.Get(ctx, req.NamespacedName, &pool); err != nil {
		forgetPool(req.NamespacedName)
		r.counts.forget(req.NamespacedName)
		r.overtakes.forget(req.NamespacedName)
		r.takenOver.forget(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	view, err := r.gather(ctx, &pool)
	if err != nil {
		return ctrl.Result{}, err
	}
	plan := decidePool(view)
	r.overtakes.remember(req.NamespacedName, plan.overtaken)
	err = r.apply(ctx, view, plan)
	gaugePool(req.NamespacedName, plan)
	late, statusErr := r.writeStatus(ctx, &pool, poolStatus(view, plan, refusal(err)), view.now)
	return ctrl.Result{RequeueAfter: sooner(untilRecheck(plan.recheck, view.now), late)}, errors.Join(err, statusErr)
}

// sooner returns the shorter of two waits, of which zero is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// untilRecheck turns a moment into what a reconciler returns; zero stays zero.
func untilRecheck(recheck, now time.Time) time.Duration {
	if recheck.IsZero() {
		return 0
	}
	return max(time.Millisecond, recheck.Sub(now))
}

// gather reads all that a decision about the pool needs.
func (r *PoolReconciler) gather(ctx context.Context, pool *v1alpha1.RunnerPool) (*poolView, error) {
	view := &poolView{pool: pool, now: r.Clock.Now(), overtaken: r.overtakes.of(client.ObjectKeyFromObject(pool))}
	view.template, view.invalid = runnerTemplate(pool, r.Image)
	view.invalidNamespaces = invalidNamespaces(pool)
	view.invalidDuration = invalidDuration(pool)

	var jobs v1alpha1.GenerationJobList
	var runners v1alpha1.RunnerList
	var pods corev1.PodList
	var classes schedulingv1.PriorityClassList
	inNamespace := client.InNamespace(pool.Namespace)
	if err := errors.Join(
		r.List(ctx, &jobs, client.MatchingFields{activeJobsByPool: client.ObjectKeyFromObject(pool).String()}),
		r.List(ctx, &runners, inNamespace, client.MatchingFields{runnersByPool: pool.Name}),
		r.List(ctx, &pods, inNamespace, client.MatchingLabels{v1alpha1.LabelPool: pool.Name}),
		r.List(ctx, &classes),
	); err != nil {
		return nil, err
	}
	view.jobs, view.runners, view.pods = jobs.Items, runners.Items, pods.Items
	view.priorities = newPriorities(classes.Items)
	if err := r.takeOver(ctx, view); err != nil {
		return nil, err
	}
	if err := r.doubts.resolve(ctx, r.Live, view.runners); err != nil {
		return nil, err
	}
	return view, errors.Join(r.gatherNamespaces(ctx, view), r.gatherModels(ctx, view), r.gatherNodes(ctx, view), r.gatherGone(ctx, view))
}

// gatherNamespaces finds out which namespaces that jobs are in the pool allows.
func (r *PoolReconciler) gatherNamespaces(ctx context.Context, view *poolView) error {
	view.allowed = map[string]bool{}
	for _, job := range view.jobs {
		if _, known := view.allowed[job.Namespace]; known {
			continue
		}
		allowed, err := gatherAllowed(ctx, r, view.pool, job.Namespace)
		if err != nil {
			return err
		}
		view.allowed[job.Namespace] = allowed
	}
	return nil
}

// gatherModels reads the models that the jobs name.
func (r *PoolReconciler) gatherModels(ctx context.Context, view *poolView) error {
	view.models = map[types.NamespacedName]*v1alpha1.Model{}
	for _, job := range view.jobs {
		key := modelKey(&job)
		if _, known := view.models[key]; known {
			continue
		}
		model, err := optional(ctx, r, key, &v1alpha1.Model{})
		if err != nil {
			return err
		}
		view.models[key] = model
	}
	return nil
}

// gatherNodes reads the nodes that the pods are on.
func (r *PoolReconciler) gatherNodes(ctx context.Context, view *poolView) error {
	view.nodes = map[string]*corev1.Node{}
	for _, pod := range view.pods {
		name := pod.Spec.NodeName
		if _, known := view.nodes[name]; known || name == "" {
			continue
		}
		node, err := optional(ctx, r, types.NamespacedName{Name: name}, &corev1.Node{})
		if err != nil {
			return err
		}
		view.nodes[name] = node
	}
	return nil
}

// gatherGone finds out about assigned jobs that the cache does not know. Taking an
// assignment away ends work, so the API server itself is asked.
func (r *PoolReconciler) gatherGone(ctx context.Context, view *poolView) error {
	view.gone = map[types.UID]bool{}
	known := map[types.UID]bool{}
	for _, job := range view.jobs {
		known[job.UID] = true
	}
	for _, runner := range view.runners {
		for _, a := range runner.Spec.Assignments {
			if known[a.UID] {
				continue
			}
			job, err := optional(ctx, r.Live, runner.JobKey(&a), &v1alpha1.GenerationJob{})
			if err != nil {
				return err
			}
			view.gone[a.UID] = job == nil || job.UID != a.UID || jobFinished(job)
		}
	}
	return nil
}

// writeStatus stores the pool's status if it changed, then tells about it, or returns how
// long that may wait.
func (r *PoolReconciler) writeStatus(ctx context.Context, pool *v1alpha1.RunnerPool, status v1alpha1.RunnerPoolStatus, now time.Time) (time.Duration, error) {
	key := client.ObjectKeyFromObject(pool)
	if !equality.Semantic.DeepEqual(pool.Status, status) {
		if onlyCountsDiffer(pool.Status, status) {
			if wait := r.counts.wait(key, now); wait > 0 {
				return wait, nil
			}
		}
		before := pool.DeepCopy()
		pool.Status = status
		if err := r.Status().Patch(ctx, pool, lockedPatch(before)); err != nil {
			return 0, client.IgnoreNotFound(err)
		}
		for _, e := range poolEvents(&before.Status, &status) {
			r.Recorder.Eventf(pool, nil, e.kind, e.reason, e.action, "%s", e.note)
		}
	}
	r.counts.forget(key)
	return 0, nil
}
