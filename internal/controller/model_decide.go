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
	if status.ObservedGeneration != model.Generation {
		// What was found of the last generation need not hold for this one.
		status.Digest, status.ModelFacts = "", v1alpha1.ModelFacts{}
	}
	status.ObservedGeneration = model.Generation
	set := func(condition string, is metav1.ConditionStatus, reason, message string) {
		setCondition(&status.Conditions, model.Generation, now, condition, is, reason, message)
	}
	set(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "jobs may use the model")
	if loadable := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionLoadable); loadable == nil || loadable.ObservedGeneration != model.Generation {
		set(v1alpha1.ConditionLoadable, metav1.ConditionUnknown, v1alpha1.ReasonNotLoaded, "no runner has tried to load the model yet")
	}
	decideDigest(model, status, runners, set)
	status.LoadedRunners = 0
	for i := range runners {
		runner := &runners[i]
		if hasLoaded(runner, model) {
			status.LoadedRunners++
			status.ModelFacts = runner.Status.Model.ModelFacts
			set(v1alpha1.ConditionLoadable, metav1.ConditionTrue, v1alpha1.ReasonLoaded, fmt.Sprintf("runner %q loaded the model", runner.Name))
		}
	}
	if failure, runner := loadFailureOf(runners, model); failure != nil && status.LoadedRunners == 0 {
		set(v1alpha1.ConditionLoadable, metav1.ConditionFalse, failure.Reason, fmt.Sprintf("runner %q: %s", runner, failure.Message))
	}
	return *status
}

// decideDigest records the digest of the bytes that all runners are to use, and whether a
// runner compared them with it. What the first runner found stands: those that looked at
// the same time and found something else take the recorded one next time.
func decideDigest(model *v1alpha1.Model, status *v1alpha1.ModelStatus, runners []v1alpha1.Runner, set func(condition string, is metav1.ConditionStatus, reason, message string)) {
	if model.Spec.Source.Path != "" {
		set(v1alpha1.ConditionVerified, metav1.ConditionUnknown, v1alpha1.ReasonNoDigest, "a path on the models volume has no digest to compare with")
		return
	}
	recorded := model.DeepCopy()
	recorded.Status = *status
	status.Digest = modelDigest(recorded)
	for i := range runners {
		if status.Digest == "" {
			status.Digest = digestFoundBy(&runners[i], model)
		}
	}
	verified := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionVerified)
	if verified == nil || verified.ObservedGeneration != model.Generation {
		set(v1alpha1.ConditionVerified, metav1.ConditionUnknown, v1alpha1.ReasonNotPulled, "no runner has fetched the model yet")
	}
	for i := range runners {
		if loaded := runners[i].Status.Model; hasLoaded(&runners[i], model) && loaded.Digest == status.Digest {
			set(v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonDigestMatches, "each byte is what "+status.Digest+" says")
			return
		}
	}
	if failure, runner := loadFailureOf(runners, model); failure != nil && failure.Reason == v1alpha1.ReasonModelVerifyFailed {
		set(v1alpha1.ConditionVerified, metav1.ConditionFalse, failure.Reason, fmt.Sprintf("runner %q: %s", runner, failure.Message))
	}
}

// digestFoundBy is what a runner found that this generation of the model's source names.
func digestFoundBy(runner *v1alpha1.Runner, model *v1alpha1.Model) string {
	for _, a := range runner.Spec.Assignments {
		h, _ := holdingOf(runner, a.UID)
		if a.Model.UID == model.UID && a.Model.Generation == model.Generation && h.report != nil && h.report.Attempt == a.Attempt && h.report.Pull != nil {
			return h.report.Pull.Digest
		}
	}
	return ""
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
