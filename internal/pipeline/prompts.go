// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/prompt/compel"
)

// promptText is one of a request's prompts, read.
type promptText struct {
	// field of the request that it stands in.
	field string
	text  string
	// sums are what the compel syntax says; nil for a prompt that means itself.
	sums []compel.Sum
	// skip is how many layers are left out at the end of the encoders.
	skip int
	// zeros has the embeddings be zeros: what is not given is no empty prompt to models
	// with force_zeros_for_empty_prompt.
	zeros bool
}

// readPrompts reads the prompts that the network sees, the negative one first, and says
// what in them has no effect. The error is a *RequestError.
func (p parts) readPrompts(r Request, guided bool) (prompts []promptText, warnings []string, err error) {
	prompts = []promptText{{field: "prompt", text: r.Prompt, skip: r.ClipSkip}}
	if guided {
		// Layers are left out of the positive prompt alone, as in diffusers.
		negative := promptText{field: "negativePrompt", text: r.NegativePrompt, zeros: r.NegativePrompt == "" && p.config.ForceZeros}
		prompts = []promptText{negative, prompts[0]}
	}
	for i := range prompts {
		var more []string
		switch r.PromptSyntax {
		case PromptPlain:
			more = p.readPlain(&prompts[i])
		case PromptCompel, "":
			more, err = p.readCompel(&prompts[i])
		default:
			err = &RequestError{"promptSyntax", r.PromptSyntax, fmt.Sprintf("must be %s or %s", PromptCompel, PromptPlain)}
		}
		if err != nil {
			return nil, nil, err
		}
		for _, warning := range more {
			warnings = append(warnings, prompts[i].field+": "+warning)
		}
	}
	return prompts, warnings, nil
}

// readPlain warns of what does not fit. As in diffusers, it is cut off.
func (p parts) readPlain(text *promptText) []string {
	if _, _, dropped := p.tokenizer.Encode(text.text); dropped > 0 {
		return []string{fmt.Sprintf("the last %d of %d tokens are left out, as the text encoder takes %d",
			dropped, dropped+p.tokenizer.MaxLength()-2, p.tokenizer.MaxLength()-2)}
	}
	return nil
}

// readCompel reads the syntax in a prompt.
func (p parts) readCompel(text *promptText) (warnings []string, err error) {
	conjunction, err := compel.Parse(text.text)
	if err == nil {
		text.sums, err = conjunction.Flatten()
	}
	if bad, ok := errors.AsType[*compel.Error](err); ok {
		return nil, &RequestError{text.field, bad.Syntax, bad.Message}
	}
	if len(text.sums) == 0 { // Where compel has nothing to encode, and fails.
		text.sums = []compel.Sum{{Prompts: [][]compel.Span{{{Weight: 1}}}, Weights: []float64{1}, Weight: 1, Normalize: true}}
	}
	warnings = compel.Warnings(text.text)
	for _, encoder := range p.encoders() {
		if lowers(text.sums) && !encoder.masks() {
			warnings = append(warnings, fmt.Sprintf("%s has no input %s, so that text with a weight below 1 is taken out of the prompt by degrees and not hidden in its place",
				modelstore.GraphFile(encoder.part), inputMask))
			break
		}
	}
	return warnings, nil
}

// lowers says whether any weight is below 1.
func lowers(sums []compel.Sum) bool {
	for _, sum := range sums {
		for _, spans := range sum.Prompts {
			for _, span := range spans {
				if span.Weight < 1 {
					return true
				}
			}
		}
	}
	return false
}
