// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// writeRetry is the wait after the API server could not be told something.
const writeRetry = 500 * time.Millisecond

// errGone says that the pod's object is gone, or that its name belongs to another pod.
var errGone = errors.New("the pod's object is gone")

// changes has the status published soon.
func (w *podWorker) changes() {
	select {
	case w.changed <- struct{}{}:
	default: // it will be, with this change in it
	}
}

// publish writes the status whenever it changed.
func (w *podWorker) publish() {
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.changed:
		}
		w.insist("status of pod "+w.pod.Name, w.writeStatus)
	}
}

// removeObject removes the pod's object, after its last status was written: who sees
// that a pod is gone may rely on its processes being gone.
func (w *podWorker) removeObject() {
	w.insist("last status of pod "+w.pod.Name, w.writeStatus)
	w.insist("removal of pod "+w.pod.Name, func() error {
		options := metav1.NewDeleteOptions(0)
		options.Preconditions = metav1.NewUIDPreconditions(string(w.pod.UID))
		err := w.node.client.CoreV1().Pods(w.pod.Namespace).Delete(w.ctx, w.pod.Name, *options)
		if apierrors.IsConflict(err) {
			return errGone
		}
		return err
	})
}

// insist does something until it succeeds, the pod's object is gone or the node stops.
func (w *podWorker) insist(what string, do func() error) {
	for w.ctx.Err() == nil {
		err := do()
		if err == nil || errors.Is(err, errGone) || apierrors.IsNotFound(err) {
			return
		}
		if w.ctx.Err() == nil {
			w.node.config.Log.Warn("trying again", "what", what, "error", err)
		}
		select {
		case <-w.ctx.Done():
		case <-time.After(writeRetry):
		}
	}
}

// writeStatus patches what differs between the status of the last write and the one that
// this node sees now. The conditions of others are in neither, and stay.
func (w *podWorker) writeStatus() error {
	w.writing.Lock()
	defer w.writing.Unlock()
	status := w.snapshot(w.written).status(now())
	if equality.Semantic.DeepEqual(w.written.Status, status) {
		return nil
	}
	patch, err := statusPatch(w.written, status)
	if err != nil {
		return err
	}
	pod, err := w.node.client.CoreV1().Pods(w.pod.Namespace).Patch(w.ctx, w.pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsConflict(err) { // the uid is another one
		return errGone
	}
	if err != nil {
		return err
	}
	w.written = pod
	return nil
}

// snapshot gathers what the status of pod is derived from.
func (w *podWorker) snapshot(pod *corev1.Pod) snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return snapshot{
		pod: pod, start: w.start, over: w.over, reason: w.reason, message: w.message,
		init: w.statusesOf(pod.Spec.InitContainers), main: w.statusesOf(pod.Spec.Containers),
	}
}

func (w *podWorker) statusesOf(containers []corev1.Container) []corev1.ContainerStatus {
	var statuses []corev1.ContainerStatus
	for _, container := range containers {
		if status, ok := w.statuses[container.Name]; ok {
			statuses = append(statuses, *status.DeepCopy())
		}
	}
	return statuses
}

// statusPatch is a patch from pod's status to status that applies to this very pod only.
func statusPatch(pod *corev1.Pod, status corev1.PodStatus) ([]byte, error) {
	before, err := json.Marshal(corev1.Pod{Status: pod.Status})
	if err != nil {
		return nil, fmt.Errorf("status of pod %s: %w", pod.Name, err)
	}
	after, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: pod.UID}, Status: status})
	if err != nil {
		return nil, fmt.Errorf("status of pod %s: %w", pod.Name, err)
	}
	return strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
}
