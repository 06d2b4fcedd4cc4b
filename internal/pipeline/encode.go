// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"fmt"

	"github.com/atelier-dev/atelier/internal/ort"
)

// encode gives what the network is conditioned on: the negative prompt and the positive
// one with guidance, and the positive one alone without. The error is a *RequestError
// where the network can't take as many tokens.
func (p parts) encode(ctx context.Context, plan plan) (conditioning, error) {
	rows := make([]encoded, 0, len(plan.prompts))
	length := p.tokenizer.MaxLength()
	for _, text := range plan.prompts {
		row, err := p.encodePrompt(ctx, text)
		if err != nil {
			return conditioning{}, fmt.Errorf("encoding the prompt: %w", err)
		}
		if row.tokens > length {
			length = row.tokens
			if err := p.checkTokens(text.field, length); err != nil {
				return conditioning{}, err
			}
		}
		rows = append(rows, row)
	}
	c := conditioning{states: ort.NewFloat32(int64(len(rows)), int64(length), int64(p.config.UNet.CrossAttentionDim))}
	if p.extras.pooled > 0 {
		c.pooled = ort.NewFloat32(int64(len(rows)), int64(p.extras.pooled))
		c.timeIDs = p.extras.sizes(plan)
	}
	if p.extras.guidance > 0 {
		c.guidance = guidanceEmbedding(plan.GuidanceScale, p.extras.guidance)
	}
	for i, row := range rows {
		if err := row.write(ctx, c, i); err != nil {
			return conditioning{}, fmt.Errorf("encoding the prompt: %w", err)
		}
	}
	return c, nil
}

// checkTokens says whether the denoising network takes so many tokens.
func (p parts) checkTokens(field string, tokens int) error {
	states, _ := p.unet.Graph().Input(inputStates)
	if most := fixed(states, 1, tokens); most < tokens {
		return &RequestError{field, fmt.Sprintf("%d tokens", tokens), fmt.Sprintf(
			"must be at most %d, which the model was exported for: shorten it, leave .and() out, or export with a dynamic sequence_length", most)}
	}
	return nil
}

// encoded is a prompt that went through the text encoders.
type encoded struct {
	// embedders are empty for a prompt that is zeros.
	embedders []*embedder
	// states of each encoder, [tokens, its width].
	states [][]float32
	// pooled is nil where no encoder gives it.
	pooled []float32
	// tokens is the largest number of any encoder.
	tokens int
}

// encodePrompt encodes a prompt with each text encoder.
func (p parts) encodePrompt(ctx context.Context, text promptText) (encoded, error) {
	row := encoded{}
	if text.zeros {
		return row, nil
	}
	for _, encoder := range p.encoders() {
		e := &embedder{textEncoder: encoder, skip: text.skip, kept: map[string]output{}}
		pooled, err := e.pool(ctx, text.text)
		if err != nil {
			return encoded{}, err
		}
		states, err := e.prompt(ctx, text)
		if err != nil {
			return encoded{}, err
		}
		if pooled != nil {
			row.pooled = pooled
		}
		row.embedders, row.states = append(row.embedders, e), append(row.states, states)
		row.tokens = max(row.tokens, len(states)/encoder.config.HiddenSize)
	}
	return row, nil
}

// write puts the embeddings of all encoders side by side into row i of c, with those of
// empty prompts after them up to its length.
func (row encoded) write(ctx context.Context, c conditioning, i int) error {
	tokens, width := int(c.states.Shape[1]), int(c.states.Shape[2])
	rows := c.states.F32[i*tokens*width : (i+1)*tokens*width]
	column := 0
	for k, e := range row.embedders {
		own := e.config.HiddenSize
		states, err := e.pad(ctx, row.states[k], tokens*own)
		if err != nil {
			return err
		}
		for t := range tokens {
			copy(rows[t*width+column:], states[t*own:(t+1)*own])
		}
		column += own
	}
	if c.pooled != nil {
		pooled := int(c.pooled.Shape[1])
		copy(c.pooled.F32[i*pooled:(i+1)*pooled], row.pooled)
	}
	return nil
}
