// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "slices"

// level is a point on the way from noise to picture: a sample there is alpha parts of
// picture and sigma parts of noise, and lambda is log(alpha/sigma), all in float32.
type level struct{ alpha, sigma, lambda float32 }

// levelOf is the level at a ratio sigma of noise to picture.
func levelOf(sigma float32) level {
	alpha := 1 / sqrt32(float32(sigma*sigma)+1)
	noise := sigma * alpha
	return level{alpha, noise, log32(alpha) - log32(noise)}
}

// same says that there is no way from one level to the other, which happens where there
// are so many steps that timesteps repeat. diffusers divides by the way and gets NaN.
func (l level) same(other level) bool { return l.lambda == other.lambda }

// levels gives the level of each sigma.
func levels(sigmas []float32) []level {
	out := make([]level, 0, len(sigmas))
	for _, s := range sigmas {
		out = append(out, levelOf(s))
	}
	return out
}

// original gives the picture that the prediction implies, in a new slice.
func (l level) original(kind string, sample, prediction []float32) []float32 {
	if kind == predictSample {
		return slices.Clone(prediction)
	}
	out := make([]float32, len(sample))
	for k, x := range sample {
		if kind == predictVelocity {
			out[k] = float32(l.alpha*x) - float32(l.sigma*prediction[k])
			continue
		}
		out[k] = (x - float32(l.sigma*prediction[k])) / l.alpha
	}
	return out
}

// noise gives the noise that the prediction implies, in a new slice.
func (l level) noise(kind string, sample, prediction []float32) []float32 {
	if kind == predictEpsilon {
		return slices.Clone(prediction)
	}
	out := make([]float32, len(sample))
	for k, x := range sample {
		if kind == predictVelocity {
			out[k] = float32(l.alpha*prediction[k]) + float32(l.sigma*x)
			continue
		}
		out[k] = (x - float32(l.alpha*prediction[k])) / l.sigma
	}
	return out
}

// add brings an original picture to the level, in place.
func (l level) add(original, noise []float32) {
	for k, n := range noise {
		original[k] = float32(l.alpha*original[k]) + float32(l.sigma*n)
	}
}

// levelled is what the schedulers have in common whose samples keep the variance of the
// noise: each timestep has a level.
type levelled struct {
	timesteps []float32
	// levels has an entry for each timestep; with the DPM solvers and UniPC one more, for
	// the end.
	levels []level
}

// Timesteps are one a step, or by rounding one more; with Karras sigmas some may repeat.
// Clipping can leave fewer.
func (s *levelled) Timesteps() []float32 { return s.timesteps }

// Order is one call a step.
func (s *levelled) Order() int { return 1 }

// InitNoiseSigma is 1.
func (s *levelled) InitNoiseSigma() float32 { return 1 }

// ScaleModelInput copies.
func (s *levelled) ScaleModelInput(_ int, dst, sample []float32) { copy(dst, sample) }

// AddNoise mixes noise in at the timestep's level.
func (s *levelled) AddNoise(i int, original, noise []float32) { s.levels[i].add(original, noise) }

// stays says that the step before timestep i led nowhere.
func (s *levelled) stays(i int) bool { return i > 0 && s.levels[i].same(s.levels[i-1]) }
