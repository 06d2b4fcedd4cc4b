// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/atelier-dev/atelier/internal/schedule"
)

// lookAtNodes retires the runners whose nodes are being emptied.
func (f *fleet) lookAtNodes(nodes map[string]*corev1.Node) {
	for _, m := range f.members {
		if node := nodes[m.pod.Spec.NodeName]; node != nil {
			m.drained = drained(node, m.pod.Spec.Tolerations)
			m.retiring = m.drained != ""
		}
	}
}

// nodeConditionTaint begins the taints that say how a node is, not what is wanted of it. A
// pod's own conditions say whether its runner suffers from that.
const nodeConditionTaint = "node.kubernetes.io/"

// drained says why no pod with the tolerations would be put on the node any more: it is
// cordoned, or tainted by whoever is about to remove it. Empty where it would.
func drained(node *corev1.Node, tolerations []corev1.Toleration) string {
	if node.Spec.Unschedulable {
		return fmt.Sprintf("node %q is cordoned", node.Name)
	}
	for _, taint := range node.Spec.Taints {
		tolerated := slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool {
			return t.ToleratesTaint(klog.Background(), &taint, true)
		})
		if !tolerated && taint.Effect != corev1.TaintEffectPreferNoSchedule && !strings.HasPrefix(taint.Key, nodeConditionTaint) {
			return fmt.Sprintf("node %q has the taint %s", node.Name, taint.ToString())
		}
	}
	return ""
}

// retire chooses the outdated runners to replace now.
func (d *poolDecision) retire() {
	retiring := schedule.Retire(d.limits(), d.scheduledMembers(), d.scheduledLeaving(), len(d.queue))
	for _, m := range d.fleet.members {
		m.retiring = m.retiring || slices.Contains(retiring, m.ordinal)
	}
}
