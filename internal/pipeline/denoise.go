// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"fmt"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/ort"
)

// denoiser draws the latents of one picture after the other.
type denoiser struct {
	network *predictor
	// guidance and rescale are guidance_scale and guidance_rescale.
	guidance, rescale float32
	// begin is the first timestep that is taken.
	begin int
	// original is what pictures begin with; nil for noise alone.
	original *original
	// latents of the picture, and random numbers, [channels, height, width].
	latents, random []float32
}

// newDenoiser allocates what drawing one picture takes.
func newDenoiser(unet ort.Session, plan plan, c conditioning, begun *original) *denoiser {
	return &denoiser{
		network:  newPredictor(unet, plan, c),
		guidance: float32(plan.GuidanceScale),
		rescale:  float32(plan.GuidanceRescale),
		begin:    plan.begin,
		original: begun,
		latents:  make([]float32, plan.latents()),
		random:   make([]float32, plan.latents()),
	}
}

// denoise draws the latents of one picture: a start with noise from the generator, then
// one call of the network for each timestep. step is called after each with its number and
// the latents. The result is good until the next call.
func (d *denoiser) denoise(ctx context.Context, scheduler diffusion.Scheduler, noise diffusion.Noise, step func(i int, latents []float32)) ([]float32, error) {
	d.start(scheduler, noise)
	timesteps := scheduler.Timesteps()
	for i := d.begin; i < len(timesteps); i++ {
		scheduler.ScaleModelInput(i, d.network.input(), d.latents)
		prediction, err := d.predict(ctx, timesteps[i])
		if err != nil {
			return nil, fmt.Errorf("denoising step %d: %w", i+1, err)
		}
		scheduler.Step(i, d.latents, prediction, noise)
		if err := checkFinite(d.latents); err != nil {
			return nil, fmt.Errorf("denoising step %d: among the latents, %w", i+1, err)
		}
		step(i, d.latents)
	}
	return d.latents, nil
}

// start puts into the latents what the first timestep begins with. Of a picture to begin
// with, a sample is drawn from the generator before the noise that goes on top of it: the
// order of diffusers' img2img pipelines, which given a list of generators draw both for
// each picture from its own.
func (d *denoiser) start(scheduler diffusion.Scheduler, noise diffusion.Noise) {
	if d.original != nil {
		d.original.sample(d.latents, d.random, noise)
		noise.Normal(d.random)
		scheduler.AddNoise(d.begin, d.latents, d.random)
		return
	}
	noise.Normal(d.latents)
	for i, n := range d.latents {
		d.latents[i] = n * scheduler.InitNoiseSigma()
	}
}

// predict gives the noise in what is in the network's input, guided.
func (d *denoiser) predict(ctx context.Context, timestep float32) ([]float32, error) {
	positive, negative, err := d.network.predict(ctx, timestep)
	if err != nil || negative == nil {
		return positive, err
	}
	guided := negative
	diffusion.Guide(guided, negative, positive, d.guidance)
	if d.rescale > 0 {
		diffusion.RescaleGuidance(guided, positive, d.rescale)
	}
	return guided, nil
}
