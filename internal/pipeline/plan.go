// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/modelstore"
)

// Bounds on requests.
const (
	maxSide   = 4096
	maxImages = 1024
	// maxGuidance is far beyond what gives pictures, and so small that no network can be
	// blamed for what it makes of numbers that overflow.
	maxGuidance = 100
)

// plan is a request with everything resolved against the model.
type plan struct {
	Request
	// prompts that the network sees.
	prompts []promptText
	// guided says that the network also sees the negative prompt.
	guided bool
	// latent is the shape of one picture's latents: channels, height, width.
	latent [3]int
	// begin is the first of the scheduler's timesteps that is taken; the ones before are
	// left out where pictures begin with another.
	begin int
	// calls of the network for one picture.
	calls int
	// warnings say what in the request has no effect, or one that no one wants.
	warnings []string
	// tiled says that the VAE sees the picture in tiles, as the whole would not fit.
	tiled bool
	// method is what the scheduler does, for people and for warnings.
	method diffusion.Method
}

// plan resolves a request. The error is a *RequestError, or a *ModelError where the
// model's own scheduler is the matter.
func (p parts) plan(r Request) (plan, error) {
	if err := checkNumbers(r); err != nil {
		return plan{}, err
	}
	if err := p.resolveImage(&r); err != nil {
		return plan{}, err
	}
	if err := p.resolveSize(&r); err != nil {
		return plan{}, err
	}
	if err := p.checkClipSkip(r.ClipSkip); err != nil {
		return plan{}, err
	}
	scheduler, err := p.resolveScheduler(&r)
	if err != nil {
		return plan{}, err
	}
	begin, err := firstTimestep(r, scheduler.Order())
	if err != nil {
		return plan{}, err
	}
	guided := r.GuidanceScale > 1 && p.extras.guidance == 0
	prompts, warnings, err := p.readPrompts(r, guided)
	if err != nil {
		return plan{}, err
	}
	scale := p.config.VAE.Scale()
	resolved := plan{
		Request: r,
		prompts: prompts,
		guided:  guided,
		latent:  [3]int{p.config.UNet.InChannels, r.Height / scale, r.Width / scale},
		begin:   begin,
		calls:   len(scheduler.Timesteps()) - begin,
		tiled:   r.Width*r.Height > mostUntiledPixels,
		method:  diffusion.MethodOf(r.Scheduler, *p.scheduler),
	}
	resolved.warnings = slices.Concat(warnings, resolved.unused(), resolved.clipped())
	return resolved, nil
}

// checkNumbers checks what does not depend on the model.
func checkNumbers(r Request) error {
	switch {
	case r.Images < 1 || r.Images > maxImages:
		return &RequestError{"images", r.Images, fmt.Sprintf("must be from 1 to %d", maxImages)}
	case r.Seed < 0 || r.Seed > math.MaxInt64-maxImages:
		return &RequestError{"seed", r.Seed, "must not be negative, and must leave room for one seed a picture"}
	case !slices.Contains([]diffusion.GeneratorDevice{"", diffusion.GeneratorCPU, diffusion.GeneratorCUDA}, r.Generator):
		return &RequestError{"generatorDevice", r.Generator, fmt.Sprintf("must be %s or %s", diffusion.GeneratorCPU, diffusion.GeneratorCUDA)}
	case !(r.GuidanceScale >= 0 && r.GuidanceScale <= maxGuidance):
		return &RequestError{"guidanceScale", r.GuidanceScale, fmt.Sprintf("must be a number from 0 to %d; 1 or less turns guidance off", maxGuidance)}
	}
	for _, share := range []struct {
		field string
		value float64
	}{{"guidanceRescale", r.GuidanceRescale}, {"eta", r.Eta}, {"strength", r.Strength}} {
		if !(share.value >= 0 && share.value <= 1) {
			return &RequestError{share.field, share.value, "must be a number from 0 to 1"}
		}
	}
	return nil
}

// resolveSize fills in the model's own size and checks what is asked for.
func (p parts) resolveSize(r *Request) error {
	scale, multiple := p.config.VAE.Scale(), p.config.SizeMultiple()
	own := p.config.UNet.SampleSize * scale
	sample, _ := p.unet.Graph().Input(inputSample)
	for i, side := range []struct {
		field string
		value *int
	}{{"height", &r.Height}, {"width", &r.Width}} {
		if *side.value == 0 {
			*side.value = own
		}
		v := *side.value
		if only := fixed(sample, 2+i, 0) * scale; only > 0 && v != only {
			return &RequestError{side.field, v, fmt.Sprintf("must be %d: the model was exported for this size alone", only)}
		} else if only == 0 && (v < multiple || v > maxSide || v%multiple != 0) {
			return &RequestError{side.field, v, fmt.Sprintf("must be a multiple of %d from %d to %d for this model, such as %d", multiple, multiple, maxSide, own)}
		}
	}
	return nil
}

// resolveScheduler fills in the model's own scheduler, and makes one as for a picture.
func (p parts) resolveScheduler(r *Request) (diffusion.Scheduler, error) {
	own := r.Scheduler == ""
	if own {
		r.Scheduler = p.scheduler.Class()
	}
	if !diffusion.Supported(r.Scheduler) {
		classes := strings.Join(diffusion.Classes(), ", ")
		if own {
			message := fmt.Sprintf("%s is not supported; name one of these in the request: %s", r.Scheduler, classes)
			return nil, &ModelError{File: modelstore.SchedulerFile, Field: "_class_name", Message: message}
		}
		return nil, &RequestError{"scheduler", r.Scheduler, "must be one of " + classes}
	}
	scheduler, err := diffusion.New(r.Scheduler, *p.scheduler, r.run())
	var steps *diffusion.StepsError
	switch {
	case errors.As(err, &steps):
		return nil, &RequestError{"steps", r.Steps, fmt.Sprintf("must be from %d to %d for this model", steps.Least, steps.Most)}
	case err != nil:
		return nil, schedulerError(err)
	}
	return scheduler, nil
}

// run is what a scheduler is asked for.
func (r Request) run() diffusion.Run { return diffusion.Run{Steps: r.Steps, Eta: r.Eta} }

// noise is where the numbers of picture k come from.
func (p plan) noise(k int) (diffusion.Noise, error) {
	return diffusion.NewGenerator(p.Generator, p.Seed+int64(k))
}

// parameters are what goes into the file of picture k: what had an effect.
func (p plan) parameters(k int, model string) artifact.Parameters {
	parameters := artifact.Parameters{
		Prompt:         p.Prompt,
		NegativePrompt: p.NegativePrompt,
		Steps:          p.Steps,
		Method:         p.method,
		GuidanceScale:  p.GuidanceScale,
		Eta:            p.Eta,
		Seed:           p.Seed + int64(k),
		Generator:      p.Generator,
		Width:          p.Width,
		Height:         p.Height,
		Model:          model,
		ClipSkip:       p.ClipSkip,
	}
	if p.guided {
		parameters.GuidanceRescale = p.GuidanceRescale
	}
	if p.Image != nil {
		parameters.Strength = p.Strength
	}
	return parameters
}

// latents is the number of numbers in one picture's latents.
func (p plan) latents() int { return p.latent[0] * p.latent[1] * p.latent[2] }
