// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// The actions of events about pools.
const (
	actionScale    = "Scale"
	actionValidate = "Validate"
	actionDelete   = "Delete"
)

// poolTroubles holds the reasons for which a pool is not ready that someone should hear of,
// with what the manager could not do.
var poolTroubles = map[string]string{
	v1alpha1.ReasonInvalidTemplate:   actionValidate,
	v1alpha1.ReasonInvalidNamespaces: actionValidate,
	v1alpha1.ReasonInvalidDuration:   actionValidate,
	v1alpha1.ReasonPodsNotCreated:    actionScale,
	v1alpha1.ReasonUnschedulable:     actionScale,
}

// poolEvents returns what to tell about a change of a pool's status: each trouble once,
// when it begins.
func poolEvents(before, after *v1alpha1.RunnerPoolStatus) []notice {
	ready := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionReady)
	action, trouble := poolTroubles[ready.Reason]
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionReady)
	if !trouble || was != nil && was.Reason == ready.Reason {
		return nil
	}
	return []notice{{corev1.EventTypeWarning, ready.Reason, action, truncate(ready.Message, maxNote)}}
}
