// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	schedulingv1 "k8s.io/api/scheduling/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// priorities are the PriorityClasses of the cluster.
type priorities struct {
	values map[string]int32
	// fallback is the priority of who names no class.
	fallback int32
}

// newPriorities reads the classes as Kubernetes does for pods: of several default classes
// the one with the smallest value counts, and without one the priority is 0.
func newPriorities(classes []schedulingv1.PriorityClass) priorities {
	p := priorities{values: make(map[string]int32, len(classes))}
	found := false
	for _, class := range classes {
		p.values[class.Name] = class.Value
		if class.GlobalDefault && (!found || class.Value < p.fallback) {
			p.fallback, found = class.Value, true
		}
	}
	return p
}

// of returns the priority of a job; false where the class that it names does not exist.
func (p priorities) of(job *v1alpha1.GenerationJob) (int32, bool) {
	name := job.Spec.PriorityClassName
	if name == nil {
		return p.fallback, true
	}
	value, known := p.values[*name]
	return value, known
}

// className is the PriorityClass that a job names; empty where it names none.
func className(job *v1alpha1.GenerationJob) string {
	if job.Spec.PriorityClassName == nil {
		return ""
	}
	return *job.Spec.PriorityClassName
}
