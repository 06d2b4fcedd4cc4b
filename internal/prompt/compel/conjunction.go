// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package compel

import (
	"math"
	"strconv"
)

// noNormalize is the option that leaves the weights of a blend as they are.
const noNormalize = "no_normalize"

// explicitConjunction reads ("one prompt", "another").and(weights). What comes after it is
// not looked at.
func (p *parser) explicitConjunction() (Conjunction, bool) {
	prompts, options, _, ok := p.joined(0, ".and", ".add")
	if !ok {
		return Conjunction{}, false
	}
	c := Conjunction{Weights: p.weights(".and()", len(prompts), options)}
	for _, prompt := range prompts {
		c.Parts = append(c.Parts, prompt)
	}
	return c, true
}

// implicitConjunction reads a blend or a prompt, before and after which there may be
// withLora(…).
func (p *parser) implicitConjunction() Conjunction {
	var c Conjunction
	add := func(part Part) { c.Parts, c.Weights = append(c.Parts, part), append(c.Weights, 1) }
	before, at := p.loras(0)
	if len(before) > 0 {
		add(before)
	}
	blend, end, ok := p.blend(at)
	if !ok {
		add(p.prompt(at))
		return c
	}
	add(blend)
	after, end := p.loras(end)
	if len(after) > 0 {
		add(after)
	}
	if p.skip(end) < len(p.text) {
		p.fail(".blend()", "must not have text after it; put that into the prompts that are blended")
	}
	return c
}

// loras reads adaptations alone.
func (p *parser) loras(at int) (loras Prompt, end int) {
	for {
		m := p.lora(at)
		if !m.ok {
			return loras, at
		}
		loras, at = append(loras, m.nodes...), m.end
	}
}

// blend reads ("one prompt", "another").blend(weights).
func (p *parser) blend(at int) (*Blend, int, bool) {
	prompts, options, end, ok := p.joined(at, ".blend")
	if !ok {
		return nil, 0, false
	}
	const syntax = ".blend()"
	b := &Blend{Prompts: prompts, Normalize: true}
	if n := len(options); n > 0 && options[n-1].Name == noNormalize {
		b.Normalize, options = false, options[:n-1]
	}
	b.Weights = p.weights(syntax, len(prompts), options)
	for _, prompt := range prompts {
		if hasSwap(prompt) {
			p.fail(syntax, "can't have .swap() in it")
		}
	}
	return b, end, true
}

// joined reads a list of prompts in parentheses, one of the operators, and its options.
func (p *parser) joined(at int, operators ...string) (prompts []Prompt, options []Option, end int, ok bool) {
	if at, ok = p.literal(at, "("); !ok {
		return nil, nil, 0, false
	}
	for more := true; more; {
		m := first(at, p.target, p.quotedPrompt)
		if !m.ok {
			return nil, nil, 0, false
		}
		prompts, end = append(prompts, m.nodes), m.end
		at, more = p.literal(end, ",")
	}
	for _, literals := range [][]string{{")"}, operators, {"("}} {
		if end, ok = p.literal(end, literals...); !ok {
			return nil, nil, 0, false
		}
	}
	options, end = p.options(end)
	end, ok = p.literal(end, ")")
	return prompts, options, end, ok
}

// weights gives the weights of so many prompts: 1 each where there are none.
func (p *parser) weights(syntax string, prompts int, options []Option) []float64 {
	weights := make([]float64, 0, prompts)
	for _, option := range options {
		weight, err := strconv.ParseFloat(option.Name, 64)
		if err != nil || math.IsNaN(weight) || math.IsInf(weight, 0) {
			p.fail(syntax, "has the weight %s; must be a number", option.Name)
		}
		weights = append(weights, weight)
	}
	for len(options) == 0 && len(weights) < prompts {
		weights = append(weights, 1)
	}
	if len(weights) != prompts {
		p.fail(syntax, "has %d prompts and %d weights; must have one for each, or none", prompts, len(weights))
	}
	return weights
}

// hasSwap says whether there is a swap anywhere in the nodes.
func hasSwap(nodes []Node) bool {
	for _, node := range nodes {
		switch n := node.(type) {
		case *Swap:
			return true
		case *Attention:
			if hasSwap(n.Children) {
				return true
			}
		}
	}
	return false
}
