// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestSilentRunnersAreReplaced(t *testing.T) {
	reports := func(s poolScene, phase v1alpha1.Phase, jobs ...string) {
		for _, job := range jobs {
			s.runners[0].Status.Assignments = append(s.runners[0].Status.Assignments, v1alpha1.AssignmentReport{UID: types.UID(job), Attempt: 1, Phase: phase})
		}
	}
	bound := func(s poolScene, since time.Duration) {
		for i := range s.runners[0].Spec.Assignments {
			s.runners[0].Spec.Assignments[i].BindTime = new(ago(since))
		}
	}
	released := func(s poolScene, since time.Duration) {
		metav1.SetMetaDataAnnotation(&s.runners[0].ObjectMeta, v1alpha1.AnnotationIdleSince, testNow.Add(-since).Format(time.RFC3339))
	}
	starting := func(s poolScene, container string, since time.Duration) {
		s.runner(0)
		s.runners[0].Status.Conditions = nil
		s.pods[0].Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: container, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(testNow.Add(-since))}},
		}}
	}
	tests := map[string]struct {
		scene func(poolScene)
		// silent is whether the runner is given up, else left is when it would be.
		silent bool
		left   time.Duration
	}{
		"an idle runner":              {scene: func(s poolScene) { s.runner(0); released(s, time.Hour) }},
		"a process that starts":       {scene: func(s poolScene) { starting(s, "runner", 30*time.Second) }, left: 90 * time.Second},
		"a process that says nothing": {scene: func(s poolScene) { starting(s, "runner", answerTime) }, silent: true},
		"a process that is not there": {scene: func(s poolScene) { starting(s, "sidecar", time.Hour) }},
		"a job that is taken":         {scene: func(s poolScene) { s.runner(0, "a"); bound(s, time.Hour); reports(s, v1alpha1.PhaseGenerating, "a") }},
		"a job that was just given":   {scene: func(s poolScene) { s.runner(0, "a"); bound(s, 30*time.Second) }, left: 90 * time.Second},
		"a job that is not taken":     {scene: func(s poolScene) { s.runner(0, "a"); bound(s, answerTime) }, silent: true},
		"a job that waits its turn":   {scene: func(s poolScene) { s.runner(0, "a", "b"); bound(s, time.Hour); reports(s, v1alpha1.PhaseSaving, "a") }},
		"a job whose turn has come":   {scene: func(s poolScene) { s.runner(0, "a", "b"); bound(s, time.Hour); reports(s, v1alpha1.PhaseFailed, "a") }, silent: true},
		"a job of an older manager":   {scene: func(s poolScene) { s.runner(0, "a") }},
		"a job that it is to let go":  {scene: func(s poolScene) { s.runner(0); released(s, time.Minute); reports(s, v1alpha1.PhaseGenerating, "a") }, left: time.Minute},
		"a job that it does not drop": {scene: func(s poolScene) { s.runner(0); released(s, answerTime); reports(s, v1alpha1.PhaseGenerating, "a") }, silent: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newPoolScene(1, 2)
			for _, job := range []string{"a", "b"} {
				s.job(job).Status.Attempt = 1
			}
			tt.scene(s)
			plan := decidePool(s.poolView)
			if silent := len(plan.silent) == 1; silent != tt.silent {
				t.Errorf("given up: %t", silent)
			}
			if tt.silent && (len(plan.members) != 0 || len(plan.create) != 0) {
				t.Errorf("%d members, %v to create while its pod is there", len(plan.members), plan.create)
			}
			if tt.left > 0 && !plan.recheck.Equal(testNow.Add(tt.left)) {
				t.Errorf("looked at again at %v, want in %v", plan.recheck, tt.left)
			}
		})
	}
}
