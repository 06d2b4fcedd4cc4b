// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"image"

	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/modelstore"
)

// Request says what to draw.
type Request struct {
	Prompt         string
	NegativePrompt string
	// PromptSyntax says how the prompts are read; empty is PromptCompel.
	PromptSyntax PromptSyntax
	// ClipSkip is how many layers are left out at the end of the text encoder for the
	// positive prompt, as diffusers' clip_skip; 0 is none.
	ClipSkip int
	// Steps of the scheduler, at least 1.
	Steps int
	// GuidanceScale of classifier-free guidance, which is off at 1 and below.
	GuidanceScale float64
	// GuidanceRescale from 0 to 1 is how far the deviation of a guided prediction is
	// brought back to that of the positive prompt's, as diffusers' guidance_rescale.
	GuidanceRescale float64
	// Eta from 0 to 1 is the share of noise that DDIM adds in each step; other schedulers
	// ignore it.
	Eta float64
	// Seed of the first picture; picture k uses Seed+k.
	Seed int64
	// Generator is the torch.Generator whose numbers are drawn; empty is
	// diffusion.GeneratorCPU.
	Generator diffusion.GeneratorDevice
	// Width and Height in pixels; 0 is the size the model was trained for, or with Image
	// that of the picture, less what is over a multiple of what the model can draw.
	Width, Height int
	// Scheduler is a diffusers class name; empty is the model's own.
	Scheduler string
	// Images is the number of pictures, at least 1.
	Images int
	// Image is what the pictures begin with (image-to-image); nil is noise alone.
	Image image.Image
	// Strength above 0 and up to 1 is how much of Image is given up, as diffusers'
	// strength; 0 is DefaultStrength. Without Image it has no meaning.
	Strength float64
	// Preview, unless nil, is called after every call of the denoising network with how
	// many are done over all pictures, and a rough picture of what there is by then, one
	// pixel for each latent. Models whose latents are neither Stable Diffusion 1's and 2's
	// nor XL's have no preview. The callee may keep the picture.
	Preview func(done int, preview *image.NRGBA)
}

// DefaultStrength is the strength of image-to-image where a request names none.
const DefaultStrength = 0.8

// PromptSyntax is a way to read prompts.
type PromptSyntax string

// The ways to read prompts.
const (
	// PromptCompel takes weights, blends and conjunctions out of the prompt, as the
	// Python library compel does. Prompts without such syntax mean themselves.
	PromptCompel PromptSyntax = "Compel"
	// PromptPlain takes every character for itself, as diffusers does.
	PromptPlain PromptSyntax = "Plain"
)

// Picture is one drawn picture.
type Picture struct {
	// Index in the request, from 0.
	Index int
	// Seed that gives this picture when it is asked for alone.
	Seed int64
	// Image is opaque.
	Image *image.NRGBA
	// Parameters go into the file's metadata.
	Parameters artifact.Parameters
}

// Result is what Generate gives.
type Result struct {
	// Pictures in the order of their index.
	Pictures []Picture
	// Warnings say what in the request has no effect, for people to read.
	Warnings []string
}

// RequestError says which field of a request the loaded model can't do. Trying again
// can't help.
type RequestError struct {
	// Field as it is called in a job's spec, such as width.
	Field string
	// Value that was asked for.
	Value any
	// Message says what would be right.
	Message string
}

// Error names field and value before the message.
func (e *RequestError) Error() string {
	return fmt.Sprintf("%s: %v: %s", e.Field, e.Value, e.Message)
}

// ModelError says which file of the model is wrong, where, and what would be right.
// Trying again can't help until the file is changed.
type ModelError = modelstore.ModelError
