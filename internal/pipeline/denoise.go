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
	network  *predictor
	guidance float32
	// latents of the picture, [channels, height, width].
	latents []float32
}

// newDenoiser allocates what drawing one picture takes.
func newDenoiser(unet ort.Session, plan plan, c conditioning) *denoiser {
	return &denoiser{
		network:  newPredictor(unet, plan, c),
		guidance: float32(plan.GuidanceScale),
		latents:  make([]float32, plan.latents()),
	}
}

// denoise draws the latents of one picture: noise from the generator, then one call of
// the network for each timestep. step is called after each with its number and the
// latents. The result is good until the next call.
func (d *denoiser) denoise(ctx context.Context, scheduler diffusion.Scheduler, noise diffusion.Noise, step func(i int, latents []float32)) ([]float32, error) {
	noise.Normal(d.latents)
	for i, n := range d.latents {
		d.latents[i] = n * scheduler.InitNoiseSigma()
	}
	for i, timestep := range scheduler.Timesteps() {
		scheduler.ScaleModelInput(i, d.network.input(), d.latents)
		prediction, err := d.predict(ctx, timestep)
		if err != nil {
			return nil, fmt.Errorf("denoising step %d: %w", i+1, err)
		}
		scheduler.Step(i, d.latents, prediction, noise)
		if err := checkFinite(d.latents); err != nil {
			return nil, fmt.Errorf("denoising step %d: %w", i+1, err)
		}
		step(i, d.latents)
	}
	return d.latents, nil
}

// predict gives the noise in what is in the network's input, guided.
func (d *denoiser) predict(ctx context.Context, timestep float32) ([]float32, error) {
	prediction, negative, err := d.network.predict(ctx, timestep)
	if err == nil && negative != nil {
		diffusion.Guide(prediction, negative, prediction, d.guidance)
	}
	return prediction, err
}

// checkFinite refuses numbers that no picture can be made of.
func checkFinite(values []float32) error {
	for _, v := range values {
		if v-v != 0 { // So only for infinities and NaN.
			return fmt.Errorf("the network gave %v, which is no number to go on with; its weights may be damaged or overflow their type", v)
		}
	}
	return nil
}
