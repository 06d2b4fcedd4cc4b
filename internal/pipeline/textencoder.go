// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
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

// masks says whether tokens can be hidden from the encoder.
func (e textEncoder) masks() bool {
	_, ok := e.session.Graph().Input(inputMask)
	return ok
}

// frame gives the ids and the mask of a chunk of tokens.
func (e textEncoder) frame(tokens []int64) (ids, mask []int64) {
	ids, mask = e.tokenizer.Frame(tokens)
	if !e.config.UseAttentionMask {
		// Most models saw the padding in training, so that it must not be hidden.
		for i := range mask {
			mask[i] = 1
		}
	}
	return ids, mask
}

// run encodes a chunk of a prompt, of which the mask hides tokens if the encoder can do
// that: embeddings of each token, [tokens, width], from before so many layers, and where
// the encoder gives them those of the whole.
func (e textEncoder) run(ctx context.Context, ids, mask []int64, skip int) (states, pooled []float32, err error) {
	length := int64(len(ids))
	inputs := map[string]*ort.Tensor{inputIDs: ort.Int64(ids, 1, length)}
	if e.masks() {
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
