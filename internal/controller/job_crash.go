// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// reasonOOMKilled is the kubelet's reason for a container that was killed for want of memory.
const reasonOOMKilled = "OOMKilled"

// The reasons of a container whose end nobody saw, as its node went down and came back: that
// of the kubelet, where the container is gone, and that of containerd, where it is still
// known.
const (
	reasonStatusUnknown = "ContainerStatusUnknown"
	reasonUnknown       = "Unknown"
)

// explainCrash returns why the bound attempt failed, with what the kubelet says of the
// process where that crashed. A process that was killed can't say by what.
func explainCrash(bound holding, pod *corev1.Pod) v1alpha1.AssignmentError {
	e := *bound.report.Error
	if e.Reason != v1alpha1.ReasonRunnerCrashed {
		return e
	}
	switch crash := crashOf(bound, pod); {
	case crash == nil:
	case crash.Reason == reasonOOMKilled:
		e.Reason = v1alpha1.ReasonRunnerOutOfMemory
		e.Message = fmt.Sprintf("container %q was killed for want of memory (its limit is %s)", runnerContainer, memoryLimit(pod))
	case crash.Reason == reasonStatusUnknown || crash.Reason == reasonUnknown:
		e.Reason = v1alpha1.ReasonRunnerLost
		e.Message = "the node of the runner went down and came back"
	default:
		e.Message = fmt.Sprintf("%s (exit code %d)", e.Message, crash.ExitCode)
	}
	return e
}

// crashOf returns how the process ended that had the bound attempt; nil where the kubelet
// did not say yet. Attempt and container have the same clock, that of the node.
func crashOf(bound holding, pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if pod == nil {
		return nil
	}
	var began time.Time
	if stages := bound.report.Stages; len(stages) > 0 {
		began = stages[0].StartTime.Truncate(time.Second)
	}
	for _, status := range pod.Status.ContainerStatuses {
		for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
			if ended := state.Terminated; status.Name == runnerContainer && ended != nil && !ended.FinishedAt.Time.Before(began) {
				return ended
			}
		}
	}
	return nil
}

func memoryLimit(pod *corev1.Pod) string {
	at := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == runnerContainer })
	if at < 0 || pod.Spec.Containers[at].Resources.Limits.Memory().IsZero() {
		return "none of its own"
	}
	return pod.Spec.Containers[at].Resources.Limits.Memory().String()
}
