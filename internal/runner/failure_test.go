// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"errors"
	"fmt"
	"testing"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/bucket"
	"github.com/atelier-dev/atelier/internal/memory"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

func TestFailed(t *testing.T) {
	request := &pipeline.RequestError{Field: "width", Value: 7, Message: "must be a multiple of 8"}
	model := &pipeline.ModelError{File: "unet/model.onnx", Message: "is not an ONNX graph"}
	large := &pipeline.TooLargeError{Model: "xl", Need: 9, Limit: memory.Limit{Bytes: 8, Source: "the limit"}}
	other := errors.New("out of memory")
	down := &bucket.Error{URL: "s3://pictures/0.png", Temporary: true, Err: errors.New("no answer")}
	denied := &bucket.Error{URL: "s3://pictures/0.png", Code: "AccessDenied", Err: errors.New("403")}
	tests := []struct {
		stage     string
		err       error
		reason    string
		retryable bool
		message   string
	}{
		{v1alpha1.ReasonGenerationFailed, request, v1alpha1.ReasonInvalidRequest, false, "width: 7: must be a multiple of 8"},
		{v1alpha1.ReasonGenerationFailed, fmt.Errorf("picture 2: %w", request), v1alpha1.ReasonInvalidRequest, false, "picture 2: width: 7: must be a multiple of 8"},
		{v1alpha1.ReasonModelLoadFailed, model, v1alpha1.ReasonModelInvalid, false, "model file unet/model.onnx: is not an ONNX graph"},
		{v1alpha1.ReasonGenerationFailed, model, v1alpha1.ReasonModelInvalid, false, "model file unet/model.onnx: is not an ONNX graph"},
		{v1alpha1.ReasonModelLoadFailed, large, v1alpha1.ReasonModelTooLarge, false, large.Error()},
		{v1alpha1.ReasonModelLoadFailed, other, v1alpha1.ReasonModelLoadFailed, true, "out of memory"},
		{v1alpha1.ReasonGenerationFailed, other, v1alpha1.ReasonGenerationFailed, true, "out of memory"},
		{v1alpha1.ReasonSaveFailed, other, v1alpha1.ReasonSaveFailed, true, "out of memory"},
		{v1alpha1.ReasonSaveFailed, down, v1alpha1.ReasonStoreUnavailable, true, down.Error()},
		{v1alpha1.ReasonModelPullFailed, down, v1alpha1.ReasonModelPullFailed, true, down.Error()},
		{v1alpha1.ReasonSaveFailed, denied, v1alpha1.ReasonSaveFailed, true, denied.Error()},
	}
	for _, test := range tests {
		f := failed(test.stage, test.err)
		if f.reason != test.reason || f.retryable != test.retryable || f.message != test.message {
			t.Errorf("%s of %v: got %+v", test.stage, test.err, f)
		}
	}
}

func TestExplainKeepsPromptsOutOfLogs(t *testing.T) {
	const prompt = "a secret garden"
	attr := explain(failed(v1alpha1.ReasonGenerationFailed, &pipeline.RequestError{Field: "prompt", Value: prompt, Message: "too long"}))
	if attr.String() != "field=prompt" {
		t.Errorf("logged %s", attr)
	}
}
