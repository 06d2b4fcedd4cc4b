// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPriorities(t *testing.T) {
	class := func(name string, value int32, fallback bool) schedulingv1.PriorityClass {
		return schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value, GlobalDefault: fallback}
	}
	urgent, normal, other := class("urgent", 1000, false), class("normal", 10, true), class("other", 20, true)
	for name, tt := range map[string]struct {
		classes []schedulingv1.PriorityClass
		class   *string
		want    int32
		known   bool
	}{
		"none anywhere":           {nil, nil, 0, true},
		"the cluster's default":   {[]schedulingv1.PriorityClass{urgent, normal}, nil, 10, true},
		"the lowest default":      {[]schedulingv1.PriorityClass{other, normal}, nil, 10, true},
		"the class that is named": {[]schedulingv1.PriorityClass{urgent, normal}, new("urgent"), 1000, true},
		"a class that is missing": {[]schedulingv1.PriorityClass{normal}, new("urgent"), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			job := newJob()
			job.Spec.PriorityClassName = tt.class
			if got, known := newPriorities(tt.classes).of(job); got != tt.want || known != tt.known {
				t.Errorf("%d, %t; want %d, %t", got, known, tt.want, tt.known)
			}
		})
	}
}
