// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"errors"
	"image"

	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// request is the assignment as the pipeline takes it, with the picture that it begins with.
func (w *work) request() (pipeline.Request, error) {
	a := w.assignment
	begin, err := w.image()
	return pipeline.Request{
		Prompt:          a.Prompt,
		NegativePrompt:  a.NegativePrompt,
		PromptSyntax:    pipeline.PromptSyntax(a.PromptSyntax),
		ClipSkip:        int(a.ClipSkip),
		Steps:           int(a.Steps),
		GuidanceScale:   a.GuidanceScale,
		GuidanceRescale: a.GuidanceRescale,
		Eta:             a.Eta,
		Seed:            a.Seed,
		Generator:       diffusion.GeneratorDevice(a.GeneratorDevice),
		Width:           int(a.Width),
		Height:          int(a.Height),
		Scheduler:       string(a.Scheduler),
		Images:          int(a.Images),
		Image:           begin,
		Strength:        a.Strength,
	}, err
}

// image reads the picture to begin with, nil for none. The error is a
// *pipeline.RequestError where the file is not there or is no picture.
func (w *work) image() (image.Image, error) {
	if w.assignment.Image == nil {
		return nil, nil
	}
	picture, err := artifact.Load(w.outputsDir, w.assignment.Image.Path)
	if refused, ok := errors.AsType[*artifact.NotPictureError](err); ok {
		return nil, &pipeline.RequestError{Field: "image.path", Value: refused.Path, Message: refused.Message}
	}
	return picture, err
}
