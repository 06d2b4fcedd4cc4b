// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// TestADurationThatCantBeReadIsThatPoolsAlone reads a list of pools as an API server may have
// them from before the schema refused "1d".
func TestADurationThatCantBeReadIsThatPoolsAlone(t *testing.T) {
	const stored = `{"items": [
		{"metadata": {"name": "old"}, "spec": {"idleTimeout": "1d", "maxAffinityWait": "5s"}},
		{"metadata": {"name": "new"}, "spec": {"idleTimeout": "24h"}}
	]}`
	var pools v1alpha1.RunnerPoolList
	if err := json.Unmarshal([]byte(stored), &pools); err != nil {
		t.Fatal(err)
	}
	s := newPoolScene(2, 1)
	decide := func(spec v1alpha1.RunnerPoolSpec) (*poolDecision, v1alpha1.RunnerPoolStatus) {
		s.pool.Spec = spec
		s.invalidDuration = invalidDuration(s.pool)
		return newPoolDecision(s.poolView), poolStatus(s.poolView, decidePool(s.poolView), "")
	}

	d, status := decide(pools.Items[0].Spec)
	const want = `False InvalidDuration: spec.idleTimeout: "1d" is not a duration, such as 10m; it is taken for left out`
	if got := conditionText(v1alpha1.GenerationJobStatus{Conditions: status.Conditions}, v1alpha1.ConditionReady); got != want {
		t.Errorf("Ready is %s\nwant %s", got, want)
	}
	if !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionStalled) {
		t.Error("the pool is not stalled")
	}
	if idle, wait := d.limits().IdleTimeout, d.rules().MaxAffinityWait; idle != v1alpha1.DefaultIdleTimeout || wait != 5*time.Second {
		t.Errorf("runners may be idle for %v, and jobs overtaken for %v", idle, wait)
	}
	if again, err := json.Marshal(pools.Items[0].Spec); err != nil || string(again) != `{"idleTimeout":"1d","maxAffinityWait":"5s"}` {
		t.Errorf("it is written as %s (%v)", again, err)
	}
	view := viewOf(newJob())
	view.pool.Status = status
	waits := conditionText(decideJob(view), v1alpha1.ConditionScheduled)
	if !strings.HasPrefix(waits, `False WaitingForRunner: no runner of RunnerPool "default" is free yet`) {
		t.Errorf("its jobs wait: %s", waits)
	}

	if d, status := decide(pools.Items[1].Spec); d.limits().IdleTimeout != 24*time.Hour || meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionStalled) != nil {
		t.Errorf("the other pool: runners may be idle for %v, %v", d.limits().IdleTimeout, status.Conditions)
	}
}

func TestAPoolWithABadDurationStartsRunners(t *testing.T) {
	s := newPoolScene(1, 1)
	s.pool.Spec.UnreadyTimeout = new(v1alpha1.Duration("a while"))
	s.job("apple")
	s.invalidDuration = invalidDuration(s.pool)
	if plan := decidePool(s.poolView); len(plan.create) != 1 || s.invalidDuration == nil {
		t.Errorf("runners %v are made for a job, and %v", plan.create, s.invalidDuration)
	}
}
