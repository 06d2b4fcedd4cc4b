// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/atelier-dev/atelier/internal/prompt/compel"
)

// embedder encodes prompts with one text encoder, with weights as compel 2.5.1 gives them:
// its Compel class with truncate_long_prompts=False, as its CompelForSD and CompelForSDXL
// have it.
type embedder struct {
	textEncoder
	// skip is how many layers are left out.
	skip int
	// kept are what the encoder gave for chunks that are come back to.
	kept map[string]output
}

// output is what an encoder gives for a chunk, see textEncoder.run.
type output struct{ states, pooled []float32 }

// encode runs the encoder, unless it was before and the output kept. The result must not
// be changed.
func (e *embedder) encode(ctx context.Context, ids, mask []int64, keep bool) (out output, err error) {
	var key []byte
	for i, id := range ids {
		key = binary.AppendVarint(binary.AppendVarint(key, id), mask[i])
	}
	if out, ok := e.kept[string(key)]; ok {
		return out, nil
	}
	out.states, out.pooled, err = e.run(ctx, ids, mask, e.skip)
	if err == nil && keep {
		e.kept[string(key)] = out
	}
	return out, err
}

// pool gives the embeddings of a whole prompt, of the text as it is, syntax included, and
// cut off where it is too long; nil where the encoder gives none.
func (e *embedder) pool(ctx context.Context, text string) ([]float32, error) {
	if e.pooled == "" {
		return nil, nil
	}
	out, err := e.plain(ctx, text)
	return out.pooled, err
}

// plain encodes text as it is, cut off where it is too long.
func (e *embedder) plain(ctx context.Context, text string) (output, error) {
	tokens := e.tokenizer.Tokens(text)
	ids, mask := e.frame(tokens[:min(len(tokens), e.tokenizer.MaxLength()-2)])
	return e.encode(ctx, ids, mask, true)
}

// prompt gives the embeddings of a prompt, [tokens, width], where the number of tokens is
// a multiple of the tokenizer's length.
func (e *embedder) prompt(ctx context.Context, text promptText) ([]float32, error) {
	if text.sums == nil {
		out, err := e.plain(ctx, text.text)
		return out.states, err
	}
	var all []float32
	for _, sum := range text.sums {
		states, err := e.sum(ctx, sum)
		if err != nil {
			return nil, err
		}
		if sum.Weight != 1 {
			if states, err = e.scale(ctx, states, float32(sum.Weight)); err != nil {
				return nil, err
			}
		}
		all = append(all, states...)
	}
	return all, nil
}

// scale moves embeddings away from those of an empty prompt: E + (z − E)·weight.
func (e *embedder) scale(ctx context.Context, states []float32, weight float32) ([]float32, error) {
	empty, err := e.emptyStates(ctx)
	if err != nil {
		return nil, err
	}
	scaled := make([]float32, len(states))
	for i, z := range states {
		base := empty[i%len(empty)]
		scaled[i] = base + float32((z-base)*weight)
	}
	return scaled, nil
}

// sum gives Σ wᵢcᵢ over the prompts of a blend, or that over Σ wᵢ.
func (e *embedder) sum(ctx context.Context, sum compel.Sum) ([]float32, error) {
	if len(sum.Prompts) == 1 && (sum.Normalize || sum.Weights[0] == 1) {
		return e.spans(ctx, sum.Prompts[0])
	}
	total := 1.0
	if sum.Normalize {
		total = 0
		for _, weight := range sum.Weights {
			total += weight
		}
	}
	var m mixture
	for i, spans := range sum.Prompts {
		states, err := e.spans(ctx, spans)
		if err != nil {
			return nil, err
		}
		if err := e.add(ctx, &m, states, float32(sum.Weights[i]/total)); err != nil {
			return nil, err
		}
	}
	return m.states, nil
}

// mixture is a weighted sum of embeddings.
type mixture struct {
	states []float32
	weight float32
}

// add adds embeddings to a mixture. Those that are shorter are padded.
func (e *embedder) add(ctx context.Context, m *mixture, states []float32, weight float32) error {
	longest := max(len(m.states), len(states))
	states, err := e.pad(ctx, states, longest)
	if err != nil {
		return err
	}
	empty := []float32{0}
	if len(m.states) < longest && m.weight != 0 {
		if empty, err = e.emptyStates(ctx); err != nil {
			return err
		}
	}
	for i := len(m.states); i < longest; i++ {
		m.states = append(m.states, empty[i%len(empty)]*m.weight)
	}
	for i, z := range states {
		m.states[i] += float32(z * weight)
	}
	m.weight += weight
	return nil
}

// pad puts embeddings of empty prompts after others, up to so many numbers.
func (e *embedder) pad(ctx context.Context, states []float32, length int) ([]float32, error) {
	if len(states) >= length {
		return states, nil
	}
	empty, err := e.emptyStates(ctx)
	if err != nil {
		return nil, err
	}
	padded := slices.Clone(states)
	for len(padded) < length {
		padded = append(padded, empty...)
	}
	return padded, nil
}

// emptyStates gives the embeddings of an empty prompt, [tokens, width].
func (e *embedder) emptyStates(ctx context.Context) ([]float32, error) {
	out, err := e.plain(ctx, "")
	return out.states, err
}

// spans gives the embeddings of one prompt. Those of text with a weight below 1 are led
// towards what they would be without that text.
func (e *embedder) spans(ctx context.Context, spans []compel.Span) ([]float32, error) {
	whole := e.sequence(spans)
	states, err := e.weighted(ctx, whole, true)
	if err != nil {
		return nil, err
	}
	total := 1.0
	for i := range spans {
		total += whole.absence(i, spans[i].Weight)
	}
	if total == 1 {
		return states, nil
	}
	var m mixture
	if err := e.add(ctx, &m, states, float32(1/total)); err != nil {
		return nil, err
	}
	for i := range spans {
		absence := whole.absence(i, spans[i].Weight)
		if absence == 0 {
			continue
		}
		without := whole.hide(i)
		if !e.masks() {
			without = e.sequence(slices.Delete(slices.Clone(spans), i, i+1))
		}
		states, err := e.weighted(ctx, without, false)
		if err != nil {
			return nil, err
		}
		if err := e.add(ctx, &m, states, float32(absence/total)); err != nil {
			return nil, err
		}
	}
	return m.states, nil
}
