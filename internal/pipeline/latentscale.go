// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import "github.com/atelier-dev/atelier/internal/modelstore"

// latentScale turns what the VAE knows as latents into what the denoising network does,
// whose deviation is about 1, and back.
type latentScale struct {
	scaling, shift float32
	// mean and deviation of each channel; nil for models that have no such.
	mean, deviation []float32
}

func newLatentScale(c modelstore.VAEConfig) latentScale {
	s := latentScale{scaling: float32(c.ScalingFactor), shift: float32(c.Shift())}
	if c.LatentsMean != nil && c.LatentsStd != nil {
		for i, mean := range c.LatentsMean {
			s.mean, s.deviation = append(s.mean, float32(mean)), append(s.deviation, float32(c.LatentsStd[i]))
		}
	}
	return s
}

// toVAE writes what the VAE takes for latents, [channels, height, width], to dst.
func (s latentScale) toVAE(dst, latents []float32) {
	if s.mean == nil {
		for i, v := range latents {
			dst[i] = v/s.scaling + s.shift
		}
		return
	}
	size := len(latents) / len(s.mean)
	for i, v := range latents {
		dst[i] = float32(v*s.deviation[i/size])/s.scaling + s.mean[i/size]
	}
}

// fromVAE turns, in place, what the VAE gave into latents, [channels, height, width].
func (s latentScale) fromVAE(latents []float32) {
	if s.mean == nil {
		for i, v := range latents {
			latents[i] = (v - s.shift) * s.scaling
		}
		return
	}
	size := len(latents) / len(s.mean)
	for i, v := range latents {
		latents[i] = (v - s.mean[i/size]) * s.scaling / s.deviation[i/size]
	}
}
