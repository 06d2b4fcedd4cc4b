// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestCountsMayBeLateByASecond(t *testing.T) {
	var counts lateCounts
	pool, other := types.NamespacedName{Name: "pool"}, types.NamespacedName{Name: "other"}
	expect := func(pool types.NamespacedName, after, want time.Duration) {
		t.Helper()
		if got := counts.wait(pool, testNow.Add(after)); got != want {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
	expect(pool, 0, time.Second)
	expect(pool, 400*time.Millisecond, 600*time.Millisecond)
	expect(other, 400*time.Millisecond, time.Second)
	expect(pool, time.Second, 0)
	expect(pool, time.Minute, 0)
	counts.forget(pool)
	expect(pool, time.Minute, time.Second)
}

func TestOnlyCountsMayBeLate(t *testing.T) {
	base := v1alpha1.RunnerPoolStatus{Runners: 1, PendingJobs: 1}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.RunnerPoolStatus)
		want   bool
	}{
		"a job more":    {func(s *v1alpha1.RunnerPoolStatus) { s.PendingJobs++; s.BusyRunners++ }, true},
		"a runner more": {func(s *v1alpha1.RunnerPoolStatus) { s.PendingJobs++; s.Runners++ }, false},
		"a condition": {func(s *v1alpha1.RunnerPoolStatus) {
			setCondition(&s.Conditions, 1, testNow, v1alpha1.ConditionReady, metav1.ConditionTrue, "Test", "")
		}, false},
	} {
		status := *base.DeepCopy()
		tt.change(&status)
		if got := onlyCountsDiffer(base, status); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
