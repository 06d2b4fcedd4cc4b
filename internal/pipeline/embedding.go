// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/ort"
)

// ComputeEmbedding is a placeholder on purpose: whatever the prompt, it gives one
// float32 zero of shape [1] and a warning that says so.
func (p *Pipeline) ComputeEmbedding(_ context.Context, _ string) (*ort.Tensor, []string, error) {
	return ort.NewFloat32(1), []string{v1alpha1.PlaceholderEmbeddingWarning}, nil
}
