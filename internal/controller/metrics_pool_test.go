// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/schedule"
)

func TestEveryRunnerIsInOneState(t *testing.T) {
	s := newPoolScene(9, 1)
	for i := range 7 {
		s.runner(i)
	}
	s.runner(7, "apple")
	s.runner(8, "pear")
	s.job("apple")
	s.job("pear")
	for i := range s.pods {
		s.pods[i].Spec.NodeName = "n"
	}
	s.pods[1].Spec.NodeName = "" // waits for a GPU
	s.pods[1].Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse}}
	s.runners[2].Status.Conditions = nil // starts
	s.pods[3].Spec.NodeName = "cordoned"
	s.pods[4].DeletionTimestamp = &metav1.Time{Time: testNow}
	s.pods[5].Status.Phase = corev1.PodFailed
	s.pods[8].Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(testNow)}}
	s.nodes = map[string]*corev1.Node{"cordoned": {Spec: corev1.NodeSpec{Unschedulable: true}}}

	pool := types.NamespacedName{Namespace: "studio", Name: "metrics"}
	gaugePool(pool, decidePool(s.poolView))
	got := runnerStates(t, pool)
	want := map[string]float64{statePending: 1, stateStarting: 1, stateIdle: 2, stateBusy: 1, stateUnready: 1, stateDraining: 1, stateTerminating: 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runners by state (-want +got):\n%s", diff)
	}
	forgetPool(pool)
	if left := runnerStates(t, pool); len(left) > 0 {
		t.Errorf("of a pool that is gone is left: %v", left)
	}
}

// runnerStates reads how many runners of a pool are said to be in each state.
func runnerStates(t *testing.T, pool types.NamespacedName) map[string]float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "atelier_pool_runners" {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			if labels[labelPool] == pool.Name {
				states[labels[labelState]] = metric.GetGauge().GetValue()
			}
		}
	}
	return states
}

func TestWhatItTakesToLoadAModel(t *testing.T) {
	cat, dog := schedule.Model{UID: "cat"}, schedule.Model{UID: "dog"}
	for _, tt := range []struct {
		has, needs schedule.Model
		want       load
	}{{cat, cat, loadNone}, {schedule.Model{}, cat, loadFull}, {dog, cat, loadSwap}} {
		if got := loadFor(tt.has, tt.needs); got != tt.want {
			t.Errorf("from %v to %v takes %s, want %s", tt.has, tt.needs, got, tt.want)
		}
	}
}

func TestWhyModelsAreNotHadIsALabel(t *testing.T) {
	for _, reason := range []string{
		v1alpha1.ReasonModelPullFailed, v1alpha1.ReasonModelVerifyFailed, v1alpha1.ReasonCacheFull,
		v1alpha1.ReasonModelInvalid, v1alpha1.ReasonModelTooLarge, v1alpha1.ReasonModelLoadFailed,
	} {
		if got := knownReason(reason); got != reason {
			t.Errorf("%s is counted as %s", reason, got)
		}
	}
	if got := knownReason("MadeUp"); got != "Other" {
		t.Errorf("a reason that nobody knows is counted as %s", got)
	}
}
