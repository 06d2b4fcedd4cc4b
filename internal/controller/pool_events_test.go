// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestPoolTroublesAreToldOnce(t *testing.T) {
	status := func(reason, message string) *v1alpha1.RunnerPoolStatus {
		var s v1alpha1.RunnerPoolStatus
		if reason != "" {
			setCondition(&s.Conditions, 1, testNow, v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)
		}
		return &s
	}
	for name, tt := range map[string]struct {
		before, after *v1alpha1.RunnerPoolStatus
		want          int
	}{
		"when it begins":          {status(v1alpha1.ReasonScaled, ""), status(v1alpha1.ReasonUnschedulable, "0/1 nodes"), 1},
		"at first sight":          {status("", ""), status(v1alpha1.ReasonInvalidTemplate, "spec.template"), 1},
		"not in other words":      {status(v1alpha1.ReasonUnschedulable, "0/1 nodes"), status(v1alpha1.ReasonUnschedulable, "0/2 nodes"), 0},
		"not what is no trouble":  {status("", ""), status(v1alpha1.ReasonScaling, "1 runner to start"), 0},
		"not that it is over":     {status(v1alpha1.ReasonUnschedulable, "0/1 nodes"), status(v1alpha1.ReasonScaled, ""), 0},
		"when another one begins": {status(v1alpha1.ReasonPodsNotCreated, "quota"), status(v1alpha1.ReasonUnschedulable, "0/1 nodes"), 1},
	} {
		if got := poolEvents(tt.before, tt.after); len(got) != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
