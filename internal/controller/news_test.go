// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// inbox is the manager's work queue: what to reconcile, and when. With it the simulation
// reconciles nothing for which there were no news, as the real manager does.
type inbox map[item]time.Time

// item is an object of a reconciler, by the kind that it is for.
type item struct {
	kind string
	key  types.NamespacedName
}

// add asks for an object to be reconciled at a time, unless it is to be sooner.
func (b inbox) add(i item, at time.Time) {
	if due, queued := b[i]; !queued || at.Before(due) {
		b[i] = at
	}
}

// deliver asks for what the watches of setup.go ask for. Old or young is nil where an object
// was created or deleted.
func (w *world) deliver(old, young client.Object) {
	ws := watches{&simManager{simAPI: w.truth, world: w}}
	generation := predicate.GenerationChangedPredicate{}
	switch cmp.Or(young, old).(type) {
	case *v1alpha1.GenerationJob:
		tell(w, "GenerationJob", old, young, nil, named)
		tell(w, "RunnerPool", old, young, changed(jobForPool), poolOfJob)
	case *v1alpha1.RunnerPool:
		tell(w, "RunnerPool", old, young, generation, named)
		tell(w, "GenerationJob", old, young, changed(poolForJob), ws.jobsOfPool)
	case *v1alpha1.Model:
		tell(w, "Model", old, young, generation, named)
		tell(w, "GenerationJob", old, young, generation, ws.jobsOfModel)
		tell(w, "RunnerPool", old, young, generation, ws.poolsOfModel)
	case *v1alpha1.Runner:
		tell(w, "GenerationJob", old, young, nil, ws.jobsOfRunner)
		tell(w, "RunnerPool", old, young, changed(runnerForPool), poolOfRunner)
		tell(w, "Model", old, young, changed(runnerForModel), ws.modelsOfRunner)
	case *schedulingv1.PriorityClass:
		tell(w, "GenerationJob", old, young, generation, ws.jobsOfClass)
		tell(w, "RunnerPool", old, young, generation, ws.poolsOfClass)
	case *corev1.Namespace:
		tell(w, "GenerationJob", old, young, changed(namespaceForPool), ws.jobsOfNamespace)
		tell(w, "RunnerPool", old, young, changed(namespaceForPool), ws.poolsBySelector)
	case *corev1.Node:
		tell(w, "RunnerPool", old, young, changed(nodeForPool), ws.poolsOfNode)
	default:
		tell(w, "RunnerPool", old, young, nil, func(context.Context, client.Object) keys { return sets.New(client.ObjectKeyFromObject(w.thePool())) })
	}
}

func named(_ context.Context, o client.Object) keys { return sets.New(client.ObjectKeyFromObject(o)) }

// tell asks for the objects of a kind that an event concerns, if it passes.
func tell[T client.Object](w *world, kind string, old, young client.Object, passes predicate.Predicate, of func(context.Context, T) keys) {
	if passes != nil && old != nil && young != nil && !passes.Update(event.UpdateEvent{ObjectOld: old, ObjectNew: young}) {
		return
	}
	for _, o := range []client.Object{old, young} {
		if o == nil {
			continue
		}
		for key := range of(w.ctx, o.(T)) {
			w.news.add(item{kind, key}, w.clock.Now())
		}
	}
}

// workOnNews reconciles what is due until nothing is.
func (w *world) workOnNews() {
	for range 1000 {
		due := w.dueNews()
		if len(due) == 0 {
			return
		}
		w.workOn(due[0])
	}
	w.must(errHot)
}

// dueNews is what is to be reconciled by now, in a fixed order.
func (w *world) dueNews() []item {
	return slices.SortedFunc(func(yield func(item) bool) {
		for i, at := range w.news {
			if !w.clock.Now().Before(at) && !yield(i) {
				return
			}
		}
	}, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.key.String(), b.key.String()))
	})
}

// workOn reconciles one object, and has it reconciled again when that is asked for.
func (w *world) workOn(next item) {
	delete(w.news, next)
	w.reconcile(func() (ctrl.Result, error) {
		result, err := w.reconcileItem(next)
		switch {
		case err != nil:
			w.news.add(next, w.clock.Now().Add(time.Second))
		case result.RequeueAfter > 0:
			w.news.add(next, w.clock.Now().Add(result.RequeueAfter))
		}
		return result, err
	})
}

func (w *world) reconcileItem(i item) (ctrl.Result, error) {
	request := ctrl.Request{NamespacedName: i.key}
	switch i.kind {
	case "GenerationJob":
		return w.jobs.Reconcile(w.ctx, request)
	case "RunnerPool":
		return w.pools.Reconcile(w.ctx, request)
	}
	return w.model.Reconcile(w.ctx, request)
}

// TestNewsAreEnough plays the acts with a manager that reconciles only what its watches and
// its own waits ask for: nothing gets stuck for want of news. Then writes meet their fates.
func TestNewsAreEnough(t *testing.T) {
	for name, act := range acts {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				w := newWorld(seed)
				w.news = inbox{}
				if seed > 0 {
					w.fault = w.drawFate
				}
				if err := play(w, act.begin); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if diff := gocmp.Diff(act.ends, w.ends()); seed == 0 && diff != "" {
					t.Errorf("ends (-want +got):\n%s", diff)
				}
			}
		})
	}
}
