// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// eulerDiscrete follows the probability flow with Euler's method, one network call a
// step (algorithm 2 of arXiv:2206.00364 without churn); EulerDiscreteScheduler of
// diffusers.
type eulerDiscrete struct {
	prediction string
	timesteps  []float32
	// sigmas has an entry for each timestep and one for the end.
	sigmas         []float32
	initNoiseSigma float32
}

// readEulerDiscrete reads the options of EulerDiscreteScheduler.
func readEulerDiscrete(o *options) func(Run) (Scheduler, error) {
	train := readTraining(o)
	prediction := readPrediction(o)
	spacing := o.choice("timestep_spacing", spacingLinspace, spacingLeading, spacingTrailing)
	offset := o.integer("steps_offset", 0, 0, maxTrainSteps)
	schedule := readSigmaSchedule(o)
	o.refuse("timestep_type", "discrete")
	return func(run Run) (Scheduler, error) {
		if err := train.check(run); err != nil {
			return nil, err
		}
		timesteps := spacedTimesteps(spacing, train.steps, run.Steps, offset)
		sigmas, timesteps := schedule.sigmas(train, timesteps, run.Steps)
		return &eulerDiscrete{
			prediction:     prediction,
			timesteps:      toFloat32(timesteps),
			sigmas:         sigmas,
			initNoiseSigma: initSigma(spacing, sigmas),
		}, nil
	}
}

// Timesteps are one a step.
func (s *eulerDiscrete) Timesteps() []float32 { return s.timesteps }

// Order is one call a step.
func (s *eulerDiscrete) Order() int { return 1 }

// InitNoiseSigma is the standard deviation of the start.
func (s *eulerDiscrete) InitNoiseSigma() float32 { return s.initNoiseSigma }

// ScaleModelInput divides by the standard deviation: dst = sample/√(σ²+1).
func (s *eulerDiscrete) ScaleModelInput(i int, dst, sample []float32) {
	sigma := s.sigmas[i]
	divisor := sqrt32(float32(sigma*sigma) + 1)
	for k, x := range sample {
		dst[k] = x / divisor
	}
}

// Step moves along the straight line from the sample x to the picture x₀ that the
// prediction implies: x += (x−x₀)/σ·(σ′−σ).
func (s *eulerDiscrete) Step(i int, sample, prediction []float32, _ Noise) {
	sigma := s.sigmas[i]
	dt := s.sigmas[i+1] - sigma
	variance := float32(sigma*sigma) + 1
	fromVelocity := -sigma / sqrt32(variance)
	for k, x := range sample {
		original := prediction[k]
		switch s.prediction {
		case predictEpsilon:
			original = x - float32(sigma*prediction[k])
		case predictVelocity:
			original = float32(prediction[k]*fromVelocity) + x/variance
		}
		derivative := (x - original) / sigma
		sample[k] = x + float32(derivative*dt)
	}
}

// AddNoise adds noise of the timestep's standard deviation.
func (s *eulerDiscrete) AddNoise(i int, original, noise []float32) {
	for k, n := range noise {
		original[k] += float32(n * s.sigmas[i])
	}
}
