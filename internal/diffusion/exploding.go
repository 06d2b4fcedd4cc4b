// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// exploding is what the schedulers have in common whose samples are the picture and sigma
// times noise, so that their variance explodes with the noise.
type exploding struct {
	prediction string
	clip       clipping
	timesteps  []float32
	// sigmas has an entry for each timestep and one for the end.
	sigmas         []float32
	initNoiseSigma float32
}

// Timesteps are one a step, or by rounding one more.
func (s *exploding) Timesteps() []float32 { return s.timesteps }

// Order is one call a step.
func (s *exploding) Order() int { return 1 }

// InitNoiseSigma is the standard deviation of the start.
func (s *exploding) InitNoiseSigma() float32 { return s.initNoiseSigma }

// ScaleModelInput divides by the standard deviation: dst = sample/√(σ²+1).
func (s *exploding) ScaleModelInput(i int, dst, sample []float32) {
	sigma := s.sigmas[i]
	divisor := sqrt32(float32(sigma*sigma) + 1)
	for k, x := range sample {
		dst[k] = x / divisor
	}
}

// AddNoise adds noise of the timestep's standard deviation.
func (s *exploding) AddNoise(i int, original, noise []float32) {
	for k, n := range noise {
		original[k] += float32(n * s.sigmas[i])
	}
}

// original gives the picture that the prediction at sigma implies, in a new slice.
func (s *exploding) original(sigma float32, sample, prediction []float32) []float32 {
	variance := float32(sigma*sigma) + 1
	fromVelocity := -sigma / sqrt32(variance)
	out := make([]float32, len(sample))
	for k, x := range sample {
		switch s.prediction {
		case predictEpsilon:
			out[k] = x - float32(sigma*prediction[k])
		case predictVelocity:
			out[k] = float32(prediction[k]*fromVelocity) + x/variance
		default:
			out[k] = prediction[k]
		}
	}
	s.clip.apply(out)
	return out
}

// derivative gives how the sample x changes with sigma on its way to the picture x₀ that
// the prediction at sigma implies, (x−x₀)/σ, in a new slice.
func (s *exploding) derivative(sigma float32, sample, prediction []float32) []float32 {
	out := s.original(sigma, sample, prediction)
	for k, x := range sample {
		out[k] = (x - out[k]) / sigma
	}
	return out
}

// explodingSchedule is how these schedulers pick timesteps and sigmas.
type explodingSchedule struct {
	train   training
	spacing string
	offset  int
	bending bending
	// logLinear falls in equal ratios over the training's whole range.
	logLinear bool
	// endAtLeast ends with the least noise of the training in place of none.
	endAtLeast bool
}

// readExploding reads the options that all of them have.
func readExploding(o *options, known trainingOptions) explodingSchedule {
	return explodingSchedule{
		train:   readTraining(o, known),
		spacing: o.choice(fieldSpacing, spacingLinspace, spacingLeading, spacingTrailing),
		offset:  o.integer("steps_offset", 0, 0, maxTrainSteps),
	}
}

// run gives what the schedulers have in common for a run.
func (s explodingSchedule) run(run Run) (exploding, error) {
	if err := s.train.check(run); err != nil {
		return exploding{}, err
	}
	timesteps := spacedTimesteps(s.spacing, s.train.steps, run.Steps, s.offset)
	sigmas, timesteps := s.sigmas(timesteps, run.Steps)
	return exploding{
		timesteps:      toFloat32(timesteps),
		sigmas:         sigmas,
		initNoiseSigma: initSigma(s.spacing, sigmas),
	}, nil
}

// sigmas gives the noise at each timestep and at the end. Bent sigmas bring timesteps of
// their own.
func (s explodingSchedule) sigmas(timesteps []float64, steps int) ([]float32, []float64) {
	table := s.train.sigmas()
	sigmas := interpolate(table, timesteps)
	if s.logLinear {
		sigmas = logLinearSigmas(table, steps)
	}
	if s.bending.bent() {
		sigmas = s.bending.sigmas(sigmas[0], sigmas[len(sigmas)-1], steps)
		timesteps = sigmaTimesteps(table, sigmas)
	}
	end := float32(0)
	if s.endAtLeast {
		end = table[0]
	}
	return append(toFloat32(sigmas), end), timesteps
}
