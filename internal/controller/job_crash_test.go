// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// crashedPod is one whose container of the name ended.
func crashedPod(container string, ended corev1.ContainerStateTerminated) *corev1.Pod {
	return &corev1.Pod{
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name:      runnerContainer,
			Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Gi")}},
		}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: container, LastTerminationState: corev1.ContainerState{Terminated: &ended},
		}}},
	}
}

func TestWhyARunnerCrashed(t *testing.T) {
	killed := corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137, FinishedAt: metav1.NewTime(testNow)}
	earlier := killed
	earlier.FinishedAt = metav1.NewTime(testNow.Add(-time.Hour))
	fault := corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 139, FinishedAt: metav1.NewTime(testNow)}
	now := crashedPod(runnerContainer, fault)
	now.Status.ContainerStatuses[0].State, now.Status.ContainerStatuses[0].LastTerminationState = now.Status.ContainerStatuses[0].LastTerminationState, corev1.ContainerState{}
	unlimited := crashedPod(runnerContainer, killed)
	unlimited.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
	unseen := func(reason string) *corev1.Pod {
		return crashedPod(runnerContainer, corev1.ContainerStateTerminated{Reason: reason, ExitCode: 137, FinishedAt: metav1.NewTime(testNow)})
	}
	for name, tt := range map[string]struct {
		reason string
		pod    *corev1.Pod
		want   string
	}{
		"not a crash":           {v1alpha1.ReasonSaveFailed, crashedPod(runnerContainer, killed), "SaveFailed: why"},
		"no pod any more":       {v1alpha1.ReasonRunnerCrashed, nil, "RunnerCrashed: why"},
		"out of memory":         {v1alpha1.ReasonRunnerCrashed, crashedPod(runnerContainer, killed), `RunnerOutOfMemory: container "runner" was killed for want of memory (its limit is 16Gi)`},
		"out of the node's":     {v1alpha1.ReasonRunnerCrashed, unlimited, `RunnerOutOfMemory: container "runner" was killed for want of memory (its limit is none of its own)`},
		"a fault":               {v1alpha1.ReasonRunnerCrashed, crashedPod(runnerContainer, fault), "RunnerCrashed: why (exit code 139)"},
		"not started again yet": {v1alpha1.ReasonRunnerCrashed, now, "RunnerCrashed: why (exit code 139)"},
		"the node went down":    {v1alpha1.ReasonRunnerCrashed, unseen("ContainerStatusUnknown"), "RunnerLost: the node of the runner went down and came back"},
		"so says containerd":    {v1alpha1.ReasonRunnerCrashed, unseen("Unknown"), "RunnerLost: the node of the runner went down and came back"},
		"an earlier crash":      {v1alpha1.ReasonRunnerCrashed, crashedPod(runnerContainer, earlier), "RunnerCrashed: why"},
		"another container's":   {v1alpha1.ReasonRunnerCrashed, crashedPod("sidecar", killed), "RunnerCrashed: why"},
	} {
		t.Run(name, func(t *testing.T) {
			report := failureReport(tt.reason, true)
			report.Stages = []v1alpha1.Stage{{Phase: v1alpha1.PhaseInitializing, StartTime: metav1.NewMicroTime(testNow.Add(300 * time.Millisecond))}}
			got := explainCrash(held(1, report), tt.pod)
			if text := got.Reason + ": " + got.Message; text != tt.want || !got.Retryable {
				t.Errorf("got  %s, retryable %t\nwant %s", text, got.Retryable, tt.want)
			}
		})
	}
}
