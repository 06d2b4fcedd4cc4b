// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// eulerDiscrete follows the probability flow with Euler's method, one network call a
// step (algorithm 2 of arXiv:2206.00364 without churn); EulerDiscreteScheduler of
// diffusers.
type eulerDiscrete struct{ exploding }

// readEulerDiscrete reads the options of EulerDiscreteScheduler.
func readEulerDiscrete(o *options) func(Run) (Scheduler, error) {
	schedule := readExploding(o, usualTraining(zeroSNRFloored))
	schedule.logLinear = o.choice("interpolation_type", "linear", "log_linear") == "log_linear"
	schedule.bending = readBending(o)
	schedule.bending.readEnds(o)
	schedule.endAtLeast = readEndsAtLeast(o)
	prediction := readPrediction(o)
	o.refuse("timestep_type", "discrete")
	return func(run Run) (Scheduler, error) {
		common, err := schedule.run(run)
		if err != nil {
			return nil, err
		}
		common.prediction = prediction
		return &eulerDiscrete{common}, nil
	}
}

// Step moves along the straight line from the sample x to the picture x₀ that the
// prediction implies: x += (x−x₀)/σ·(σ′−σ).
func (s *eulerDiscrete) Step(i int, sample, prediction []float32, _ Noise) {
	sigma := s.sigmas[i]
	dt := s.sigmas[i+1] - sigma
	for k, d := range s.derivative(sigma, sample, prediction) {
		sample[k] += float32(d * dt)
	}
}
