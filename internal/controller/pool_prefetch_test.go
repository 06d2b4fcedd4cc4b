// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// TestModelThatJobsWaitForIsPrefetched gives the only runner a job while one of another model
// waits: the runner brings that model in the meantime.
func TestModelThatJobsWaitForIsPrefetched(t *testing.T) {
	scene := newPoolScene(1, 1)
	scene.models[types.NamespacedName{Namespace: "studio", Name: "owl"}] = &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Name: "owl", UID: "owl", Generation: 3}}
	scene.runner(0)
	scene.job("first")
	scene.job("second").Spec.ModelRef.Name = "owl"
	plan := decidePool(scene.poolView)
	if len(plan.changes) != 1 || len(plan.changes[0].bound) != 1 {
		t.Fatalf("got changes %+v, want one that binds a job", plan.changes)
	}
	m := plan.changes[0].member
	if m.prefetch == nil || m.prefetch.Name != "owl" || m.prefetch.UID != "owl" || m.prefetch.Generation != 3 {
		t.Errorf("the runner is to bring %+v, want owl", m.prefetch)
	}

	// When the second job has its turn nothing is left to bring.
	scene.runners[0].Spec.Prefetch = m.prefetch
	scene.jobs = scene.jobs[1:]
	plan = decidePool(scene.poolView)
	if len(plan.changes) != 1 || plan.changes[0].member.prefetch != nil {
		t.Errorf("got changes %+v, want one without a model to bring", plan.changes)
	}
}
