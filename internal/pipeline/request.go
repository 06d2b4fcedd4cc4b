// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"image"

	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/modelstore"
)

// Request says what to draw.
type Request struct {
	Prompt         string
	NegativePrompt string
	// ClipSkip is how many layers are left out at the end of the text encoder for the
	// positive prompt, as diffusers' clip_skip; 0 is none.
	ClipSkip int
	// Steps of the scheduler, at least 1.
	Steps int
	// GuidanceScale of classifier-free guidance, which is off at 1 and below.
	GuidanceScale float64
	// Seed of the first picture; picture k uses Seed+k.
	Seed int64
	// Width and Height in pixels; 0 is the size the model was trained for.
	Width, Height int
	// Scheduler is a diffusers class name; empty is the model's own.
	Scheduler string
	// Images is the number of pictures, at least 1.
	Images int
}

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
