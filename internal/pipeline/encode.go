// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"fmt"

	"github.com/atelier-dev/atelier/internal/ort"
)

// encode gives what the network is conditioned on: text embeddings, float32 of shape
// [prompts, tokens, width], where the prompts are the negative one and the positive one
// with guidance, and the positive one alone without.
func (p parts) encode(ctx context.Context, plan plan) (conditioning, error) {
	prompts := []string{plan.Prompt}
	if plan.guided {
		prompts = []string{plan.NegativePrompt, plan.Prompt}
	}
	tokens, width := p.tokenizer.MaxLength(), p.config.TextEncoder.HiddenSize
	states := ort.NewFloat32(int64(len(prompts)), int64(tokens), int64(width))
	for i, text := range prompts {
		into := states.F32[i*tokens*width : (i+1)*tokens*width]
		if err := p.encodePrompt(ctx, text, ort.Float32(into, 1, int64(tokens), int64(width))); err != nil {
			return conditioning{}, fmt.Errorf("encoding the prompt: %w", err)
		}
	}
	if err := checkFinite(states.F32); err != nil {
		return conditioning{}, fmt.Errorf("encoding the prompt: %w", err)
	}
	return conditioning{states: states}, nil
}

// encodePrompt writes the embeddings of one prompt to states.
func (p parts) encodePrompt(ctx context.Context, text string, states *ort.Tensor) error {
	ids, mask, _ := p.tokenizer.Encode(text)
	length := int64(len(ids))
	inputs := map[string]*ort.Tensor{inputIDs: ort.Int64(ids, 1, length)}
	if _, ok := p.textEncoder.Graph().Input(inputMask); ok {
		if !p.config.TextEncoder.UseAttentionMask {
			// Most models saw the padding in training, so that it must not be hidden.
			for i := range mask {
				mask[i] = 1
			}
		}
		inputs[inputMask] = ort.Int64(mask, 1, length)
	}
	return p.textEncoder.Run(ctx, inputs, map[string]*ort.Tensor{outputStates: states})
}
