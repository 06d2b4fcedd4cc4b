// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// overtakingScene is a pool with one runner that has the model "cat" loaded, a job that
// waits for another model, and one behind it that needs no swap.
func overtakingScene() poolScene {
	s := newPoolScene(1, 1)
	s.runner(0)
	s.runners[0].Status.Model = &v1alpha1.LoadedModel{UID: "cat", Generation: 1}
	s.models[types.NamespacedName{Namespace: "studio", Name: "cat"}] = &v1alpha1.Model{}
	s.models[types.NamespacedName{Namespace: "studio", Name: "cat"}].UID = "cat"
	s.models[types.NamespacedName{Namespace: "studio", Name: "cat"}].Generation = 1
	s.job("swap")
	s.job("loaded").Spec.ModelRef.Name = "cat"
	return s
}

func TestAPlanRemembersWhoIsOvertaken(t *testing.T) {
	s := overtakingScene()
	s.overtaken = overtaken{}
	plan := decidePool(s.poolView)
	if len(plan.changes) != 1 || plan.changes[0].bound[0].Name != "loaded" || plan.changes[0].loads[0] != loadNone {
		t.Fatalf("changes %+v", plan.changes)
	}
	if since := plan.overtaken["swap"]; !since.Equal(testNow) || len(plan.overtaken) != 1 {
		t.Errorf("remembers %v", plan.overtaken)
	}

	s.overtaken = overtaken{"swap": testNow.Add(-v1alpha1.DefaultMaxAffinityWait)}
	plan = decidePool(s.poolView)
	if len(plan.changes) != 1 || plan.changes[0].bound[0].Name != "swap" || plan.changes[0].loads[0] != loadSwap {
		t.Fatalf("changes %+v", plan.changes)
	}
	if _, kept := plan.overtaken["swap"]; !kept {
		t.Error("forgets since when, although the write may fail")
	}
}

func TestAfterARestartEveryoneWasOvertaken(t *testing.T) {
	s := overtakingScene()
	s.now = testNow.Add(v1alpha1.DefaultMaxAffinityWait)
	if plan := decidePool(s.poolView); plan.changes[0].bound[0].Name != "swap" {
		t.Errorf("%s went first", plan.changes[0].bound[0].Name)
	}
	s.now = testNow.Add(v1alpha1.DefaultMaxAffinityWait - time.Second)
	if plan := decidePool(s.poolView); plan.changes[0].bound[0].Name != "loaded" {
		t.Errorf("%s went first", plan.changes[0].bound[0].Name)
	}
}

func TestOvertakesAreKeptByPool(t *testing.T) {
	var o overtakes
	pool := types.NamespacedName{Namespace: "studio", Name: "gpu"}
	if o.of(pool) != nil {
		t.Error("knows of a pool that was never looked at")
	}
	o.remember(pool, overtaken{"a": testNow})
	o.remember(pool, nil)
	if since := o.of(pool).since("a", time.Time{}); !since.Equal(testNow) {
		t.Errorf("since %v", since)
	}
	if since := o.of(pool).since("b", testNow); !since.IsZero() {
		t.Errorf("a job that was not overtaken is since %v", since)
	}
	o.forget(pool)
	if since := o.of(pool).since("b", testNow); !since.Equal(testNow) {
		t.Errorf("after forgetting since %v", since)
	}
}
