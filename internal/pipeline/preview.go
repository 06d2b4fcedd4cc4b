// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"image"
	"math"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/modelstore"
)

// rgbFactors turn the latents of one place into a colour from -1 to 1: bias and, for each
// latent, what it adds to red, green and blue.
type rgbFactors struct {
	bias    [colourChannels]float32
	latents [4][colourChannels]float32
}

var (
	// Of Stable Diffusion 1 and 2, fitted to pictures: "Decoding latents to RGB without
	// upscaling", discuss.huggingface.co/t/23204.
	stableDiffusionRGB = rgbFactors{latents: [4][colourChannels]float32{
		{0.298, 0.207, 0.208},
		{0.187, 0.286, 0.173},
		{-0.158, 0.189, 0.264},
		{-0.184, -0.271, -0.473},
	}}
	// Of Stable Diffusion XL: latents_to_rgb in diffusers' guide to callbacks, after
	// "Explaining the SDXL latent space" by Timothy Alexis Vass. There, colours are from 0
	// to 255.
	stableDiffusionXLRGB = rgbFactors{
		bias: [colourChannels]float32{150/127.5 - 1, 140/127.5 - 1, 130/127.5 - 1},
		latents: [4][colourChannels]float32{
			{60 / 127.5, 60 / 127.5, 60 / 127.5},
			{-60 / 127.5, -5 / 127.5, 10 / 127.5},
			{25 / 127.5, 15 / 127.5, -5 / 127.5},
			{-70 / 127.5, -50 / 127.5, -35 / 127.5},
		},
	}
)

// latentColours finds the factors by what the latents were scaled with, which differs
// between the VAEs; nil for latents of another kind.
func latentColours(c modelstore.VAEConfig) *rgbFactors {
	switch {
	case c.LatentChannels != len(rgbFactors{}.latents):
		return nil
	case c.ScalingFactor == 0.18215:
		return &stableDiffusionRGB
	case c.ScalingFactor == 0.13025:
		return &stableDiffusionXLRGB
	}
	return nil
}

// previewer draws rough pictures of latents without a network.
type previewer struct {
	factors       *rgbFactors
	width, height int
	scaled        []float32
}

// newPreviewer is nil where no preview is asked for, or there is none for the model.
func (p parts) newPreviewer(plan plan) *previewer {
	factors := latentColours(p.config.VAE)
	if plan.Preview == nil || factors == nil {
		return nil
	}
	return &previewer{factors: factors, width: plan.latent[2], height: plan.latent[1], scaled: make([]float32, plan.latents())}
}

// draw gives a picture of the latents after timestep i, one pixel each. Where they still
// have noise, it is of what the network sees next, whose deviation is that of latents
// without noise whatever the scheduler.
func (v *previewer) draw(scheduler diffusion.Scheduler, i int, latents []float32) *image.NRGBA {
	if i+1 < len(scheduler.Timesteps()) {
		scheduler.ScaleModelInput(i+1, v.scaled, latents)
		latents = v.scaled
	}
	picture := image.NewNRGBA(image.Rect(0, 0, v.width, v.height))
	n := v.width * v.height
	for k := range n {
		pixel := picture.Pix[4*k : 4*k+4]
		for c := range colourChannels {
			value := v.factors.bias[c]
			for l, factors := range v.factors.latents {
				value += float32(factors[c] * latents[l*n+k])
			}
			pixel[c] = toByte(value)
		}
		pixel[3] = math.MaxUint8
	}
	return picture
}
