// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestWhichNodesAreDrained(t *testing.T) {
	taint := func(key string, effect corev1.TaintEffect) corev1.NodeSpec {
		return corev1.NodeSpec{Taints: []corev1.Taint{{Key: key, Value: "x", Effect: effect}}}
	}
	tests := map[string]struct {
		node corev1.NodeSpec
		want string
	}{
		"not a common one":                 {corev1.NodeSpec{}, ""},
		"a cordoned one":                   {corev1.NodeSpec{Unschedulable: true}, `node "n" is cordoned`},
		"one about to be removed":          {taint("karpenter.sh/disrupted", corev1.TaintEffectNoSchedule), `node "n" has the taint karpenter.sh/disrupted=x:NoSchedule`},
		"one that evicts":                  {taint("maintenance", corev1.TaintEffectNoExecute), `node "n" has the taint maintenance=x:NoExecute`},
		"not one that is merely disliked":  {taint("busy", corev1.TaintEffectPreferNoSchedule), ""},
		"not one whose taint is tolerated": {taint("nvidia.com/gpu", corev1.TaintEffectNoSchedule), ""},
		"not one that is short of memory":  {taint("node.kubernetes.io/memory-pressure", corev1.TaintEffectNoSchedule), ""},
		"nor one that is not ready, about which its pods' conditions tell": {taint("node.kubernetes.io/not-ready", corev1.TaintEffectNoSchedule), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Spec: tt.node}
			got := drained(node, []corev1.Toleration{{Key: "nvidia.com/gpu", Operator: corev1.TolerationOpExists}})
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestARunnerOnADrainedNodeGoesWhenItIsIdle(t *testing.T) {
	s := newPoolScene(2, 1)
	s.runner(0, "apple")
	s.job("apple")
	s.job("pear")
	s.pods[0].Spec.NodeName = "n"
	s.nodes = map[string]*corev1.Node{"n": {Spec: corev1.NodeSpec{Unschedulable: true}}}
	if plan := decidePool(s.poolView); len(plan.changes)+len(plan.remove) > 0 || len(plan.create) != 1 {
		t.Errorf("a busy one: changes %v, remove %v, create %v", plan.changes, plan.remove, plan.create)
	}
	s.runners[0].Spec.Assignments, s.jobs = nil, s.jobs[1:]
	if plan := decidePool(s.poolView); len(plan.changes) > 0 || len(plan.remove) != 1 || len(plan.create) != 1 {
		t.Errorf("an idle one: changes %v, remove %v, create %v", plan.changes, plan.remove, plan.create)
	}
}

func TestASuspendedPoolRunsEmpty(t *testing.T) {
	s := newPoolScene(3, 2)
	s.pool.Spec.MinRunners, s.pool.Spec.Suspend = new(int32(3)), new(true)
	s.runner(0, "apple")
	s.runner(1)
	s.job("apple")
	s.job("pear")
	plan := decidePool(s.poolView)
	if len(plan.changes)+len(plan.create) > 0 || len(plan.remove) != 1 || plan.pending != 1 {
		t.Errorf("changes %v, remove %v, create %v, pending %d", plan.changes, plan.remove, plan.create, plan.pending)
	}
	ready := func() string {
		status := poolStatus(s.poolView, decidePool(s.poolView), "")
		return conditionText(v1alpha1.GenerationJobStatus{Conditions: status.Conditions}, v1alpha1.ConditionReady)
	}
	if got, want := ready(), "False Scaling: suspended; 2 runners left to finish and end"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s.pods, s.runners = nil, nil
	if got, want := ready(), "True PoolSuspended: suspended; no runner is left"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestANewTemplateTakesAFewRunnersAtATime(t *testing.T) {
	s := newPoolScene(3, 1)
	for i := range 3 {
		s.runner(i)
		s.pods[i].Annotations[v1alpha1.AnnotationTemplateHash] = "old"
	}
	s.job("apple")
	s.job("pear")
	s.job("plum")
	plan := decidePool(s.poolView)
	if len(plan.changes) != 2 || len(plan.remove) != 1 || len(plan.create) != 0 {
		t.Errorf("changes %v, remove %v, create %v: one goes, the others work on", plan.changes, plan.remove, plan.create)
	}
	status := poolStatus(s.poolView, plan, "")
	if status.UpdatedRunners != 0 || status.Runners != 3 {
		t.Errorf("%d of %d updated", status.UpdatedRunners, status.Runners)
	}
}
