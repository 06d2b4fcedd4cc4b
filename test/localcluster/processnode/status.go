// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// loopback is the address of every pod and of the node.
const loopback = "127.0.0.1"

// snapshot is what a pod's status is derived from.
type snapshot struct {
	pod   *corev1.Pod // as the API server has it, with the conditions of others
	start metav1.Time
	// init and main are the containers, in the order of the spec.
	init, main []corev1.ContainerStatus
	// over is true when no container will run any more.
	over bool
	// reason and message say why the node did not take the pod.
	reason, message string
}

// status derives a pod's status. Conditions that others set, such as the scheduler's and
// the eviction controller's, are kept.
func (s snapshot) status(now metav1.Time) corev1.PodStatus {
	status := *s.pod.Status.DeepCopy()
	status.Phase = s.phase()
	status.Reason, status.Message = s.reason, s.message
	status.HostIP, status.HostIPs = loopback, []corev1.HostIP{{IP: loopback}}
	status.PodIP, status.PodIPs = loopback, []corev1.PodIP{{IP: loopback}}
	status.StartTime = &s.start
	status.InitContainerStatuses, status.ContainerStatuses = s.init, s.main
	for _, condition := range s.conditions() {
		condition.ObservedGeneration = s.pod.Generation
		setCondition(&status, condition, now)
	}
	return status
}

// phase follows the kubelet: a pod is Pending until each container has started once, and
// ends when none will run any more.
func (s snapshot) phase() corev1.PodPhase {
	if s.over {
		if s.reason == "" && allSucceeded(s.init) && allSucceeded(s.main) {
			return corev1.PodSucceeded
		}
		return corev1.PodFailed
	}
	for _, c := range s.main {
		if c.State.Waiting != nil && c.LastTerminationState.Terminated == nil {
			return corev1.PodPending
		}
	}
	return corev1.PodRunning
}

// conditions are those that a kubelet is responsible for.
func (s snapshot) conditions() []corev1.PodCondition {
	initialized := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if pending := unready(s.init, func(c corev1.ContainerStatus) bool { return succeeded(c) }); len(pending) > 0 {
		initialized.Status, initialized.Reason = corev1.ConditionFalse, "ContainersNotInitialized"
		initialized.Message = fmt.Sprintf("containers with incomplete status: [%s]", strings.Join(pending, " "))
	}
	ready := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}
	pending := unready(s.main, func(c corev1.ContainerStatus) bool { return c.Ready })
	switch {
	case s.over && s.phase() == corev1.PodSucceeded:
		ready.Status, ready.Reason = corev1.ConditionFalse, "PodCompleted"
	case s.over:
		ready.Status, ready.Reason = corev1.ConditionFalse, "PodFailed"
	case len(pending) > 0:
		ready.Status, ready.Reason = corev1.ConditionFalse, "ContainersNotReady"
		ready.Message = fmt.Sprintf("containers with unready status: [%s]", strings.Join(pending, " "))
	}
	pod := ready
	pod.Type = corev1.PodReady
	return []corev1.PodCondition{initialized, ready, pod}
}

// unready names the containers for which ready is false.
func unready(statuses []corev1.ContainerStatus, ready func(corev1.ContainerStatus) bool) []string {
	var names []string
	for _, status := range statuses {
		if !ready(status) {
			names = append(names, status.Name)
		}
	}
	return names
}

func allSucceeded(statuses []corev1.ContainerStatus) bool {
	return !slices.ContainsFunc(statuses, func(c corev1.ContainerStatus) bool { return !succeeded(c) })
}

func succeeded(c corev1.ContainerStatus) bool {
	return c.State.Terminated != nil && c.State.Terminated.ExitCode == 0
}

// setCondition replaces the condition of that type. The time of transition stays where
// the status does.
func setCondition(status *corev1.PodStatus, condition corev1.PodCondition, now metav1.Time) {
	condition.LastTransitionTime = now
	i := slices.IndexFunc(status.Conditions, func(c corev1.PodCondition) bool { return c.Type == condition.Type })
	if i < 0 {
		status.Conditions = append(status.Conditions, condition)
		return
	}
	if status.Conditions[i].Status == condition.Status {
		condition.LastTransitionTime = status.Conditions[i].LastTransitionTime
	}
	condition.LastProbeTime = status.Conditions[i].LastProbeTime
	status.Conditions[i] = condition
}

// initialStatus is how a container's status stands before this node has done anything:
// fresh, or what is left of a container that ran before the node was restarted.
func initialStatus(container *corev1.Container, previous []corev1.ContainerStatus, now metav1.Time) corev1.ContainerStatus {
	i := slices.IndexFunc(previous, func(c corev1.ContainerStatus) bool { return c.Name == container.Name })
	if i < 0 || previous[i].ContainerID == "" {
		return corev1.ContainerStatus{
			Name:    container.Name,
			Image:   container.Image,
			Started: new(bool),
			State:   corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}},
		}
	}
	status := *previous[i].DeepCopy()
	if running := status.State.Running; running != nil {
		status.Ready, status.Started = false, new(bool)
		status.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "the node was restarted while the container ran",
			StartedAt: running.StartedAt, FinishedAt: now, ContainerID: status.ContainerID,
		}}
	}
	return status
}

// shouldRestart says whether a container runs again after it ended.
func shouldRestart(policy corev1.RestartPolicy, exitCode int32) bool {
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return exitCode != 0
	default:
		return true
	}
}
