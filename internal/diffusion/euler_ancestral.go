// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// eulerAncestral goes further down than the next sigma with Euler's method and back up
// with new noise, one network call a step; EulerAncestralDiscreteScheduler of diffusers,
// after k-diffusion's sample_euler_ancestral.
type eulerAncestral struct{ exploding }

// readEulerAncestral reads the options of EulerAncestralDiscreteScheduler.
func readEulerAncestral(o *options) func(Run) (Scheduler, error) {
	schedule := readExploding(o, usualTraining(zeroSNRFloored))
	prediction := readNoisePrediction(o)
	return func(run Run) (Scheduler, error) {
		common, err := schedule.run(run)
		if err != nil {
			return nil, err
		}
		common.prediction = prediction
		return &eulerAncestral{common}, nil
	}
}

// Step draws noise in every step, also in the last, which adds none.
func (s *eulerAncestral) Step(i int, sample, prediction []float32, noise Noise) {
	sigma := s.sigmas[i]
	down, up := ancestral(sigma, s.sigmas[i+1])
	drawn := make([]float32, len(sample))
	noise.Normal(drawn)
	dt := down - sigma
	for k, d := range s.derivative(sigma, sample, prediction) {
		sample[k] = sample[k] + float32(d*dt) + float32(drawn[k]*up)
	}
}

// ancestral parts the way from one sigma to the next: down² + up² = to². Where rounding
// makes a square negative it counts as 0; diffusers gets NaN there, with its default betas
// at 4 steps for one.
func ancestral(from, to float32) (down, up float32) {
	square := float32(to * to)
	added := square * (float32(from*from) - square) / float32(from*from)
	up = sqrt32(max(0, added))
	return sqrt32(max(0, square-float32(up*up))), up
}
