// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/prompt"
)

// textEncoder is one of the text encoders with what belongs to it.
type textEncoder struct {
	part      string
	tokenizer *prompt.Tokenizer
	session   ort.Session
	config    modelstore.TextEncoderConfig
	// norm is applied to embeddings from before the last layer; nil for none.
	norm *layerNorm
	// paired says that the encoder is one of two. Such encoders give embeddings from
	// before their last layer even when none is left out, and without norm.
	paired bool
	// outputs of the session; pooled is the one with a summary of the whole prompt, of
	// pooledWidth numbers, "" where none is taken.
	outputs     []string
	pooled      string
	pooledWidth int
}

// encoders gives the text encoders in the order in which their embeddings are joined.
func (p parts) encoders() []textEncoder {
	first := textEncoder{
		part: modelstore.TextEncoder, tokenizer: p.tokenizer, session: p.textEncoder, config: p.config.TextEncoder,
		norm: p.norm, paired: p.config.TextEncoder2 != nil,
	}
	first.outputs = computed(first.part, first.session.Graph(), p.config)
	if !first.paired {
		return []textEncoder{first}
	}
	second := textEncoder{
		part: modelstore.TextEncoder2, tokenizer: p.tokenizer2, session: p.textEncoder2, config: *p.config.TextEncoder2,
		paired: true, pooled: outputPooled, pooledWidth: p.extras.pooled,
	}
	second.outputs = computed(second.part, second.session.Graph(), p.config)
	return []textEncoder{first, second}
}

// stateOutput names the output with the embeddings when so many layers are left out.
func (e textEncoder) stateOutput(skip int) string {
	switch {
	case e.paired:
		return outputHidden + strconv.Itoa(e.config.Layers-1-skip)
	case skip > 0:
		return outputHidden + strconv.Itoa(e.config.Layers-skip)
	}
	return outputStates
}

// mostSkipped is how many layers can be left out.
func (e textEncoder) mostSkipped() int {
	if e.paired {
		return e.config.Layers - 1
	}
	return e.config.Layers
}

// encode gives what the network is conditioned on: the negative prompt and the positive
// one with guidance, and the positive one alone without.
func (p parts) encode(ctx context.Context, plan plan) (conditioning, error) {
	prompts := []string{plan.Prompt}
	if plan.guided {
		prompts = []string{plan.NegativePrompt, plan.Prompt}
	}
	batch, tokens := int64(len(prompts)), p.tokenizer.MaxLength()
	c := conditioning{states: ort.NewFloat32(batch, int64(tokens), int64(p.config.UNet.CrossAttentionDim))}
	if p.extras.pooled > 0 {
		c.pooled = ort.NewFloat32(batch, int64(p.extras.pooled))
		c.timeIDs = p.extras.sizes(plan)
	}
	if p.extras.guidance > 0 {
		c.guidance = guidanceEmbedding(plan.GuidanceScale, p.extras.guidance)
	}
	for i, text := range prompts {
		negative := plan.guided && i == 0
		if negative && text == "" && p.config.ForceZeros {
			continue // What is not given is zeros, not an empty prompt.
		}
		skip := plan.ClipSkip
		if negative {
			skip = 0 // As in diffusers.
		}
		if err := p.encodePrompt(ctx, text, skip, c, i); err != nil {
			return conditioning{}, fmt.Errorf("encoding the prompt: %w", err)
		}
	}
	return c, nil
}

// encodePrompt writes the embeddings of one prompt, with so many layers left out, to row
// i of c: those of several encoders side by side.
func (p parts) encodePrompt(ctx context.Context, text string, skip int, c conditioning, i int) error {
	tokens, width := int(c.states.Shape[1]), int(c.states.Shape[2])
	rows := c.states.F32[i*tokens*width : (i+1)*tokens*width]
	column := 0
	for _, encoder := range p.encoders() {
		states, pooled, err := encoder.run(ctx, text, skip)
		if err != nil {
			return err
		}
		own := encoder.config.HiddenSize
		for t := range tokens {
			copy(rows[t*width+column:], states[t*own:(t+1)*own])
		}
		column += own
		if c.pooled != nil && pooled != nil {
			copy(c.pooled.F32[i*p.extras.pooled:], pooled)
		}
	}
	return nil
}

// run encodes one prompt: embeddings of each token, [tokens, width], and where the
// encoder gives them those of the whole.
func (e textEncoder) run(ctx context.Context, text string, skip int) (states, pooled []float32, err error) {
	ids, mask, _ := e.tokenizer.Encode(text)
	length := int64(len(ids))
	inputs := map[string]*ort.Tensor{inputIDs: ort.Int64(ids, 1, length)}
	if _, ok := e.session.Graph().Input(inputMask); ok {
		if !e.config.UseAttentionMask {
			// Most models saw the padding in training, so that it must not be hidden.
			for i := range mask {
				mask[i] = 1
			}
		}
		inputs[inputMask] = ort.Int64(mask, 1, length)
	}
	outputs := map[string]*ort.Tensor{}
	for _, name := range e.outputs { // All must be taken, of whatever layer.
		outputs[name] = ort.NewFloat32(1, length, int64(e.config.HiddenSize))
	}
	if e.pooled != "" {
		outputs[e.pooled] = ort.NewFloat32(1, int64(e.pooledWidth))
		pooled = outputs[e.pooled].F32
	}
	if err := e.session.Run(ctx, inputs, outputs); err != nil {
		return nil, nil, err
	}
	states = outputs[e.stateOutput(skip)].F32
	if skip > 0 && e.norm != nil {
		e.norm.apply(states)
	}
	return states, pooled, errors.Join(checkFinite(states), checkFinite(pooled))
}
