// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestEventsOfFailuresTellNothingThatAUserWrote(t *testing.T) {
	for message, want := range map[string]string{
		"prompt: .blend(): has the weight secret; must be a number": "the model can't do spec.prompt; the job's condition Failed says what would be right",
		"image.path: secret/cat.png: no such file":                  "the model can't do spec.image.path; the job's condition Failed says what would be right",
		"a secret: said otherwise":                                  "the model can't do what the job asks for; the job's condition Failed says what would be right",
		"secret":                                                    "the model can't do what the job asks for; the job's condition Failed says what would be right",
	} {
		before, after := &v1alpha1.GenerationJobStatus{}, &v1alpha1.GenerationJobStatus{}
		setCondition(&after.Conditions, 1, testNow, v1alpha1.ConditionScheduled, metav1.ConditionTrue, v1alpha1.ReasonBound, "")
		setCondition(&after.Conditions, 1, testNow, v1alpha1.ConditionFailed, metav1.ConditionTrue, v1alpha1.ReasonInvalidRequest, message)
		if got := jobEvents(before, after); len(got) != 1 || got[0].note != want || got[0].reason != v1alpha1.ReasonInvalidRequest {
			t.Errorf("%q is told as %+v\nwant %q", message, got, want)
		}
	}
	failed := &metav1.Condition{Reason: v1alpha1.ReasonModelInvalid, Message: "unet/model.onnx: cut short"}
	if got := tellable(failed); got != failed.Message {
		t.Errorf("what is wrong with a model is told as %q", got)
	}
}
