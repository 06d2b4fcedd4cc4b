// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// stuck reports whether an object is a pod on a node that has failed.
func (w *world) stuck(o client.Object) bool {
	pod, ok := o.(*corev1.Pod)
	return ok && w.dead[pod.Spec.NodeName]
}

// schedulePods puts pods on nodes, as the scheduler does. Those for which there is none wait.
func (w *world) schedulePods() {
	nodes := slices.DeleteFunc(all[*corev1.Node](w), func(node *corev1.Node) bool { return node.Spec.Unschedulable || w.dead[node.Name] })
	for _, pod := range all[*corev1.Pod](w) {
		switch {
		case pod.Spec.NodeName != "":
		case len(nodes) == 0:
			setPodCondition(pod, corev1.PodScheduled, corev1.PodReasonUnschedulable)
			w.must(w.truth.Status().Update(w.ctx, pod))
		default:
			pod.Spec.NodeName = nodes[w.truth.version%len(nodes)].Name
			w.must(w.truth.Update(w.ctx, pod))
			pod.Status.Conditions = nil
			w.must(w.truth.Status().Update(w.ctx, pod))
		}
	}
}

// failNode ends everything on a node, about which its controller tells.
func (w *world) failNode(name string) {
	w.dead[name] = true
	for _, pod := range all[*corev1.Pod](w) {
		if pod.Spec.NodeName == name {
			setPodCondition(pod, corev1.PodReady, "NodeNotReady")
			pod.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.clock.Now())
			w.must(w.truth.Status().Update(w.ctx, pod))
		}
	}
}

// mendNodes brings the nodes back that have failed: runners go on where they were, and pods
// go that were deleted meanwhile.
func (w *world) mendNodes() {
	clear(w.dead)
	for _, pod := range all[*corev1.Pod](w) {
		switch {
		case !pod.DeletionTimestamp.IsZero():
			w.must(w.truth.Delete(w.ctx, pod))
		case pod.Spec.NodeName != "":
			pod.Status.Conditions = nil
			w.must(w.truth.Status().Update(w.ctx, pod))
		}
	}
}

func setPodCondition(pod *corev1.Pod, condition corev1.PodConditionType, reason string) {
	pod.Status.Conditions = []corev1.PodCondition{{Type: condition, Status: corev1.ConditionFalse, Reason: reason}}
}

// changePool changes the pool's spec, as its owner does.
func (w *world) changePool(change func(*v1alpha1.RunnerPoolSpec)) {
	pool := w.thePool()
	change(&pool.Spec)
	w.must(w.truth.Update(w.ctx, pool))
}

// labelled is a template that differs from others by a label.
func labelled(version string) *runtime.RawExtension {
	return &runtime.RawExtension{Raw: fmt.Appendf(nil, `{"metadata": {"labels": {"version": %q}}}`, version)}
}

// allowGuests labels the guests' namespace, which the pool chooses by that.
func (w *world) allowGuests(label string) {
	for _, namespace := range all[*corev1.Namespace](w) {
		namespace.Labels = map[string]string{"guests": label}
		w.must(w.truth.Update(w.ctx, namespace))
	}
}
