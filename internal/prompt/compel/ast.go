// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package compel reads prompts as the Python library compel (version 2.5.1) does: weights,
// blends and conjunctions in the middle of the text. What that library makes of a text, its
// odd cases included, is what is made of it here; hack/goldens/compel.py compares the two.
package compel

// Conjunction is a whole prompt: parts that are encoded each for itself and put one after
// the other. Most prompts have one part.
type Conjunction struct {
	Parts []Part
	// Weights has one for each part.
	Weights []float64
}

// Part is a Prompt or a *Blend.
type Part interface{ part() }

// Prompt is text with weights.
type Prompt []Node

// Blend is a weighted sum of prompts.
type Blend struct {
	Prompts []Prompt
	// Weights has one for each prompt.
	Weights []float64
	// Normalize has the weights divided by their sum.
	Normalize bool
}

// Node is a Fragment, an *Attention, a *Swap or a Lora.
type Node interface{ node() }

// Fragment is text that means itself: a word, or a mark between words.
type Fragment string

// Attention multiplies the weight of what is in it.
type Attention struct {
	Weight   float64
	Children []Node
}

// Swap asks for one text in the cross-attention of another, (a cat).swap(a dog). Like
// compel's own conditioning, nothing here carries that out: the original is drawn.
type Swap struct {
	Original, Edited []Node
	Options          []Option
}

// Option is what stands in the parentheses of an operator: a name with a value, or a
// number or word alone, which is then the name.
type Option struct{ Name, Value string }

// Lora asks for a low-rank adaptation of the model, withLora(name, weight).
type Lora struct {
	Name   string
	Weight float64
}

func (Prompt) part() {}
func (*Blend) part() {}

func (Fragment) node()   {}
func (*Attention) node() {}
func (*Swap) node()      {}
func (Lora) node()       {}

// Error says why nothing can be made of a prompt, where compel raises an exception.
type Error struct {
	// Syntax at fault, such as .blend().
	Syntax string
	// Message says what would be right.
	Message string
}

// Error names the syntax before the message.
func (e *Error) Error() string { return e.Syntax + " " + e.Message }
