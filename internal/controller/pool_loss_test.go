// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestWhichRunnersAreGivenUp(t *testing.T) {
	unready := func(d time.Duration) func(poolScene) {
		return func(s poolScene) {
			s.pods[0].Status.Conditions = []corev1.PodCondition{{
				Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(testNow.Add(-d)),
			}}
		}
	}
	deleted := func(ago time.Duration) func(poolScene) {
		return func(s poolScene) { s.pods[0].DeletionTimestamp = &metav1.Time{Time: testNow.Add(-ago)} }
	}
	idle := func(s poolScene) { s.runners[0].Spec.Assignments = nil }
	both := func(a, b func(poolScene)) func(poolScene) { return func(s poolScene) { a(s); b(s) } }
	tests := map[string]struct {
		change func(poolScene)
		// silent pods and lost Runners there are then, and when the pool is looked at again.
		silent, lost int
		recheck      time.Duration
	}{
		"not one that is ready":                          {change: func(poolScene) {}},
		"not one that was not ready for a moment":        {change: unready(time.Minute), recheck: time.Minute},
		"one that was not for long":                      {change: unready(2 * time.Minute), silent: 1},
		"not one without a job":                          {change: both(unready(time.Hour), idle)},
		"as soon as its pool says":                       {change: both(unready(time.Minute), func(s poolScene) { s.pool.Spec.UnreadyTimeout = new(v1alpha1.Duration("1m")) }), silent: 1},
		"also where the node says nothing any more":      {change: both(unready(time.Hour), func(s poolScene) { s.pods[0].Status.Conditions[0].Status = corev1.ConditionUnknown }), silent: 1},
		"not one that ends":                              {change: deleted(-20 * time.Second), recheck: 50 * time.Second},
		"nor one that just should have":                  {change: deleted(29 * time.Second), recheck: time.Second},
		"one whose pod does not end":                     {change: deleted(30 * time.Second), lost: 1},
		"not one that has no job, as it holds up no one": {change: both(deleted(time.Hour), idle)},
		"even if it was only told to let go of it": {change: both(deleted(time.Hour), both(idle, func(s poolScene) {
			s.runners[0].Status.Assignments = []v1alpha1.AssignmentReport{{UID: "apple", Attempt: 1}}
		})), lost: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newPoolScene(1, 1)
			s.pool.Spec.IdleTimeout = new(v1alpha1.Duration("1h"))
			s.runner(0, "apple")
			s.job("apple")
			tt.change(s)
			d := newPoolDecision(s.poolView)
			d.giveUpUnready()
			d.giveUpStranded()
			if len(d.plan.silent) != tt.silent || len(d.plan.lost) != tt.lost {
				t.Errorf("%d silent, %d lost, want %d and %d", len(d.plan.silent), len(d.plan.lost), tt.silent, tt.lost)
			}
			if got := untilRecheck(d.plan.recheck, testNow); got != tt.recheck {
				t.Errorf("looks again after %v, want %v", got, tt.recheck)
			}
		})
	}
}

func TestAStrandedPodDoesNotHoldUpThePool(t *testing.T) {
	s := newPoolScene(1, 1)
	s.runner(0)
	s.job("apple")
	s.pods[0].DeletionTimestamp = &metav1.Time{Time: testNow.Add(-29 * time.Second)}
	if plan := decidePool(s.poolView); len(plan.create) > 0 {
		t.Errorf("creates %v while the pod may still end", plan.create)
	}
	s.pods[0].DeletionTimestamp = &metav1.Time{Time: testNow.Add(-30 * time.Second)}
	plan := decidePool(s.poolView)
	if len(plan.create) != 1 || plan.create[0] != 1 {
		t.Errorf("creates %v, want one of another name", plan.create)
	}
	plan.create = nil
	if reason, message := poolState(s.poolView, plan, &v1alpha1.RunnerPoolStatus{}, ""); reason != v1alpha1.ReasonScaling ||
		message != `pod "gpu-0" was to end at 2026-01-01T11:59:30Z and is still there; its node may have failed` {
		t.Errorf("%s: %s", reason, message)
	}
}
