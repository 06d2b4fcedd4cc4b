// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// decideModel returns the status that a model should have, given the Runners that
// have it loaded or are to load it. What a runner found holds until another finds otherwise or the model's spec
// changes.
func decideModel(model *v1alpha1.Model, runners []v1alpha1.Runner, now time.Time) v1alpha1.ModelStatus {
	status := model.Status.DeepCopy()
	status.ObservedGeneration = model.Generation
	set := func(condition string, is metav1.ConditionStatus, reason, message string) {
		setCondition(&status.Conditions, model.Generation, now, condition, is, reason, message)
	}
	set(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "jobs may use the model")
	if loadable := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionLoadable); loadable == nil || loadable.ObservedGeneration != model.Generation {
		set(v1alpha1.ConditionLoadable, metav1.ConditionUnknown, v1alpha1.ReasonNotLoaded, "no runner has tried to load the model yet")
	}
	status.LoadedRunners = 0
	for i := range runners {
		runner := &runners[i]
		if hasLoaded(runner, model) {
			status.LoadedRunners++
			set(v1alpha1.ConditionLoadable, metav1.ConditionTrue, v1alpha1.ReasonLoaded, fmt.Sprintf("runner %q loaded the model", runner.Name))
		}
	}
	if failure, runner := loadFailureOf(runners, model); failure != nil && status.LoadedRunners == 0 {
		set(v1alpha1.ConditionLoadable, metav1.ConditionFalse, failure.Reason, fmt.Sprintf("runner %q: %s", runner, failure.Message))
	}
	return *status
}

// hasLoaded reports whether the runner has this generation of the model loaded.
func hasLoaded(runner *v1alpha1.Runner, model *v1alpha1.Model) bool {
	loaded := runner.Status.Model
	return loaded != nil && loaded.UID == model.UID && loaded.Generation == model.Generation
}

// loadFailureOf returns why a runner could not load this generation of the model, and the
// runner's name; nil where none says so now.
func loadFailureOf(runners []v1alpha1.Runner, model *v1alpha1.Model) (*v1alpha1.AssignmentError, string) {
	for i := range runners {
		for _, a := range runners[i].Spec.Assignments {
			if a.Model.UID != model.UID || a.Model.Generation != model.Generation {
				continue
			}
			h, _ := holdingOf(&runners[i], a.UID)
			if h.report != nil && h.report.Attempt == a.Attempt && h.report.Error != nil && loadFailure(h.report.Error.Reason) {
				return h.report.Error, runners[i].Name
			}
		}
	}
	return nil, ""
}
