// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package compel

import (
	"fmt"
	"math"
)

// Span is text with one weight. The spans of a prompt are tokenized each for itself.
type Span struct {
	Text   string
	Weight float64
}

// Sum is a part of a conjunction without nesting: a weighted sum of prompts. A part that is
// no blend is the sum of one prompt with the weight 1.
type Sum struct {
	Prompts [][]Span
	// Weights has one for each prompt.
	Weights []float64
	// Normalize has the weights divided by their sum.
	Normalize bool
	// Weight in the conjunction.
	Weight float64
}

// Flatten multiplies nested weights, and joins neighbours of equal weight with a space.
// Parts without text are left out, so that there may be none. The error is an *Error.
func (c Conjunction) Flatten() ([]Sum, error) {
	var sums []Sum
	for i, part := range c.Parts {
		sum := Sum{Weight: c.Weights[i], Normalize: true}
		switch part := part.(type) {
		case Prompt:
			if spans := flatten(part); len(spans) > 0 {
				sum.Prompts, sum.Weights = [][]Span{spans}, []float64{1}
			}
		case *Blend:
			sum.Weights, sum.Normalize = part.Weights, part.Normalize
			for _, prompt := range part.Prompts {
				if spans := flatten(prompt); len(spans) > 0 {
					sum.Prompts = append(sum.Prompts, spans)
				}
			}
			if len(sum.Prompts) != len(sum.Weights) {
				return nil, &Error{".blend()", "must not have a prompt without text in it"}
			}
		}
		if err := sum.check(); err != nil {
			return nil, err
		}
		if len(sum.Prompts) > 0 {
			sums = append(sums, sum)
		}
	}
	return sums, nil
}

// check refuses weights that no numbers come of.
func (s Sum) check() error {
	if err := checkWeight(".and()", s.Weight); err != nil {
		return err
	}
	total := 0.0
	for i, spans := range s.Prompts {
		if err := checkWeight(".blend()", s.Weights[i]); err != nil {
			return err
		}
		total += s.Weights[i]
		for _, span := range spans {
			if err := checkWeight("text", span.Weight); err != nil {
				return err
			}
		}
	}
	if s.Normalize && len(s.Prompts) > 0 && total == 0 {
		return &Error{".blend()", "has weights whose sum is 0; must have another sum, or no_normalize after them"}
	}
	return nil
}

// maxWeight is far above what makes pictures, and far below what overflows.
const maxWeight = 1e6

func checkWeight(syntax string, weight float64) error {
	if !(math.Abs(weight) <= maxWeight) {
		return &Error{syntax, fmt.Sprintf("has the weight %v; must be at most %v", weight, maxWeight)}
	}
	return nil
}

// flatten gives the spans of nodes, those of equal weight as one unless a swap is between
// them.
func flatten(nodes []Node) []Span {
	f := flattener{}
	f.add(nodes, 1)
	return f.spans
}

type flattener struct {
	spans []Span
	// apart keeps the next span from being joined with the last.
	apart bool
}

func (f *flattener) add(nodes []Node, weight float64) {
	for _, node := range nodes {
		switch n := node.(type) {
		case Fragment:
			f.append(Span{unescape(string(n)), weight})
		case *Attention:
			f.add(n.Children, weight*n.Weight)
		case *Swap:
			f.swap(n.Original, weight)
		}
	}
}

// append adds a span. compel takes backslashes away each time that texts are joined.
func (f *flattener) append(span Span) {
	if n := len(f.spans); n > 0 && !f.apart && f.spans[n-1].Weight == span.Weight {
		f.spans[n-1].Text = unescape(f.spans[n-1].Text + " " + span.Text)
		return
	}
	f.spans, f.apart = append(f.spans, span), false
}

// swap adds what is to be swapped, apart from what is around it.
func (f *flattener) swap(original []Node, weight float64) {
	inner := flattener{}
	inner.add(original, weight)
	if len(inner.spans) == 0 {
		inner.spans = []Span{{"", 1}}
	}
	f.spans, f.apart = append(f.spans, inner.spans...), true
}
