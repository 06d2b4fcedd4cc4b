// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/modelstore"
)

// Bounds on requests.
const (
	maxSide   = 4096
	maxImages = 1024
)

// plan is a request with everything resolved against the model.
type plan struct {
	Request
	// guided says that the network also sees the negative prompt.
	guided bool
	// latent is the shape of one picture's latents: channels, height, width.
	latent [3]int
	// calls of the network for one picture.
	calls int
	// warnings say what in the request has no effect.
	warnings []string
}

// plan resolves a request. The error is a *RequestError, or a *ModelError where the
// model's own scheduler is the matter.
func (p parts) plan(r Request) (plan, error) {
	if err := checkNumbers(r); err != nil {
		return plan{}, err
	}
	if err := p.resolveSize(&r); err != nil {
		return plan{}, err
	}
	if err := p.checkClipSkip(r.ClipSkip); err != nil {
		return plan{}, err
	}
	calls, err := p.resolveScheduler(&r)
	if err != nil {
		return plan{}, err
	}
	scale := p.config.VAE.Scale()
	return plan{
		Request: r,
		guided:  r.GuidanceScale > 1 && p.extras.guidance == 0,
		latent:  [3]int{p.config.UNet.InChannels, r.Height / scale, r.Width / scale},
		calls:   calls,
	}, nil
}

// checkNumbers checks what does not depend on the model.
func checkNumbers(r Request) error {
	switch {
	case r.Images < 1 || r.Images > maxImages:
		return &RequestError{"images", r.Images, fmt.Sprintf("must be from 1 to %d", maxImages)}
	case r.Seed < 0 || r.Seed > math.MaxInt64-maxImages:
		return &RequestError{"seed", r.Seed, "must not be negative, and must leave room for one seed a picture"}
	case !(r.GuidanceScale >= 0 && r.GuidanceScale <= math.MaxFloat32):
		return &RequestError{"guidanceScale", r.GuidanceScale, "must be a number from 0 up; 1 or less turns guidance off"}
	}
	return nil
}

// resolveSize fills in the model's own size and checks what is asked for.
func (p parts) resolveSize(r *Request) error {
	scale := p.config.VAE.Scale()
	own := p.config.UNet.SampleSize * scale
	sample, _ := p.unet.Graph().Input(inputSample)
	for i, side := range []struct {
		field string
		value *int
	}{{"height", &r.Height}, {"width", &r.Width}} {
		if *side.value == 0 {
			*side.value = own
		}
		if v := *side.value; v < scale || v > maxSide || v%scale != 0 {
			return &RequestError{side.field, v, fmt.Sprintf("must be a multiple of %d from %d to %d for this model, such as %d", scale, scale, maxSide, own)}
		}
		if len(sample.Shape) == 4 && sample.Shape[2+i] > 0 && sample.Shape[2+i] != int64(*side.value/scale) {
			return &RequestError{side.field, *side.value, fmt.Sprintf("must be %d: the model was exported for this size alone", sample.Shape[2+i]*int64(scale))}
		}
	}
	return nil
}

// resolveScheduler fills in the model's own scheduler and counts the network calls of
// one picture.
func (p parts) resolveScheduler(r *Request) (calls int, err error) {
	own := r.Scheduler == ""
	if own {
		r.Scheduler = p.scheduler.Class()
	}
	if !diffusion.Supported(r.Scheduler) {
		classes := strings.Join(diffusion.Classes(), ", ")
		if own {
			message := fmt.Sprintf("%s is not supported; name one of these in the request: %s", r.Scheduler, classes)
			return 0, &ModelError{File: modelstore.SchedulerFile, Field: "_class_name", Message: message}
		}
		return 0, &RequestError{"scheduler", r.Scheduler, "must be one of " + classes}
	}
	scheduler, err := diffusion.New(r.Scheduler, *p.scheduler, diffusion.Run{Steps: r.Steps})
	var steps *diffusion.StepsError
	switch {
	case errors.As(err, &steps):
		return 0, &RequestError{"steps", r.Steps, fmt.Sprintf("must be from 1 to %d for this model", steps.Most)}
	case err != nil:
		return 0, schedulerError(err)
	}
	return len(scheduler.Timesteps()), nil
}

// parameters are what goes into the file of picture k.
func (p plan) parameters(k int, model string) artifact.Parameters {
	return artifact.Parameters{
		Prompt:         p.Prompt,
		NegativePrompt: p.NegativePrompt,
		Steps:          p.Steps,
		Scheduler:      p.Scheduler,
		GuidanceScale:  p.GuidanceScale,
		Seed:           p.Seed + int64(k),
		Width:          p.Width,
		Height:         p.Height,
		Model:          model,
	}
}

// latents is the number of numbers in one picture's latents.
func (p plan) latents() int { return p.latent[0] * p.latent[1] * p.latent[2] }
