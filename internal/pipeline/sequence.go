// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"math"
	"slices"

	"github.com/atelier-dev/atelier/internal/prompt/compel"
)

// sequence is what a text encoder sees of a prompt: chunks of the tokenizer's length.
type sequence struct {
	// ids, mask and weights of each chunk's tokens.
	ids, mask [][]int64
	weights   [][]float32
	// positions of the prompt's tokens, counted through all chunks, and starts where in
	// these those of each span begin; one more is the end.
	positions, starts []int
}

// sequence tokenizes spans each for itself and divides their tokens into chunks.
func (e *embedder) sequence(spans []compel.Span) sequence {
	var tokens []int64
	var weights []float32
	s := sequence{starts: []int{0}}
	for _, span := range spans {
		own := e.tokenizer.Tokens(span.Text)
		tokens = append(tokens, own...)
		weights = append(weights, slices.Repeat([]float32{float32(span.Weight)}, len(own))...)
		s.starts = append(s.starts, len(tokens))
	}
	for c, chunk := range e.tokenizer.Chunks(tokens) {
		ids, mask := e.frame(chunk)
		own := slices.Repeat([]float32{1}, len(ids))
		copy(own[1:], weights[:len(chunk)])
		weights = weights[len(chunk):]
		s.ids, s.mask, s.weights = append(s.ids, ids), append(s.mask, mask), append(s.weights, own)
		for i := range chunk {
			s.positions = append(s.positions, c*len(ids)+1+i)
		}
	}
	return s
}

// hide gives the sequence with the tokens of one span masked. As in compel, that masks
// whatever is between its first and its last, also the end and the padding of a chunk that
// is not full, but neither the first nor the last place of any chunk.
func (s sequence) hide(span int) sequence {
	first, last := s.positions[s.starts[span]], s.positions[s.starts[span+1]-1]
	masks := make([][]int64, len(s.mask))
	for c, mask := range s.mask {
		masks[c] = slices.Clone(mask)
		start := c * len(mask)
		for i := max(1, first-start); i < min(len(mask)-1, last-start+1); i++ {
			masks[c][i] = 0
		}
	}
	s.mask = masks
	return s
}

// absence is the weight of what the prompt is without a span: none at the span's weight 1
// and above, as much as the whole prompt's at 0.5, and almost all at 0.
func (s sequence) absence(span int, weight float64) float64 {
	if weight >= 1 || s.starts[span] == s.starts[span+1] {
		return 0
	}
	const least = 1e-5
	return math.Tan((1 - max(least, weight)) * math.Pi / 2)
}

// weighted gives the embeddings of a sequence, [tokens, width]. Those of tokens with a
// weight are moved along the line from the empty prompt's: E + (z − E)·weight.
func (e *embedder) weighted(ctx context.Context, s sequence, keep bool) ([]float32, error) {
	var all []float32
	width := e.config.HiddenSize
	for c := range s.ids {
		out, err := e.encode(ctx, s.ids[c], s.mask[c], keep)
		if err != nil {
			return nil, err
		}
		start := len(all)
		all = append(all, out.states...)
		for t, weight := range s.weights[c] {
			if weight == 1 {
				continue // Exactly what it is.
			}
			empty, err := e.emptyStates(ctx)
			if err != nil {
				return nil, err
			}
			row := all[start+t*width:][:width]
			for i, base := range empty[t*width:][:width] {
				row[i] = base + float32((row[i]-base)*weight)
			}
		}
	}
	return all, nil
}
