// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"fmt"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/ort"
)

// denoiser calls the denoising network for one picture after the other. Its tensors are
// allocated once.
type denoiser struct {
	unet     ort.Session
	guided   bool
	guidance float32
	// latents of the picture, [channels, height, width].
	latents []float32
	// sample is what the network takes and noise what it predicts, [1 or 2, channels,
	// height, width]: with guidance for the negative prompt and the positive one.
	sample, noise, timestep *ort.Tensor
	inputs, outputs         map[string]*ort.Tensor
}

// newDenoiser allocates what drawing one picture takes. states are the text embeddings.
func newDenoiser(unet ort.Session, plan plan, states *ort.Tensor) *denoiser {
	batch := states.Shape[0]
	channels, height, width := int64(plan.latent[0]), int64(plan.latent[1]), int64(plan.latent[2])
	d := &denoiser{
		unet:     unet,
		guided:   plan.guided,
		guidance: float32(plan.GuidanceScale),
		latents:  make([]float32, plan.latents()),
		sample:   ort.NewFloat32(batch, channels, height, width),
		noise:    ort.NewFloat32(batch, channels, height, width),
		timestep: ort.NewFloat32(timestepShape(unet.Graph())...),
	}
	d.inputs = map[string]*ort.Tensor{inputSample: d.sample, inputTimestep: d.timestep, inputStates: states}
	d.outputs = map[string]*ort.Tensor{outputNoise: d.noise}
	return d
}

// timestepShape is how the network takes the timestep: as a scalar, or as a list of one
// unless the list's length is fixed.
func timestepShape(graph ort.Graph) []int64 {
	v, _ := graph.Input(inputTimestep)
	if v.Shape != nil && len(v.Shape) == 0 {
		return []int64{}
	}
	if len(v.Shape) == 1 && v.Shape[0] > 0 {
		return []int64{v.Shape[0]}
	}
	return []int64{1}
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
		scheduler.ScaleModelInput(i, d.sample.F32[:len(d.latents)], d.latents)
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

// predict calls the network on what is in the first half of sample.
func (d *denoiser) predict(ctx context.Context, timestep float32) ([]float32, error) {
	n := len(d.latents)
	if d.guided {
		copy(d.sample.F32[n:], d.sample.F32[:n])
	}
	for i := range d.timestep.F32 {
		d.timestep.F32[i] = timestep
	}
	if err := d.unet.Run(ctx, d.inputs, d.outputs); err != nil {
		return nil, err
	}
	prediction := d.noise.F32[:n]
	if d.guided {
		diffusion.Guide(prediction, prediction, d.noise.F32[n:], d.guidance)
	}
	return prediction, nil
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
