// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "math"

// maxShift bounds shifts, and their inverses, so that sigmas stay apart from 0 and 1.
const maxShift = 1e4

// flowMatchEuler follows the straight flow from noise to picture with Euler's method, one
// network call a step (arXiv:2403.03206); FlowMatchEulerDiscreteScheduler of diffusers. A
// sample is sigma parts of noise and 1−sigma parts of picture.
type flowMatchEuler struct {
	timesteps []float32
	// sigmas has an entry for each timestep and one for the end.
	sigmas []float32
	// stochastic draws new noise in each step.
	stochastic bool
}

// flowSchedule is how its timesteps are picked.
type flowSchedule struct {
	steps   int
	shift   float64
	dynamic bool
	linear  bool
	// terminal is where the last sigma is stretched to, unless it is 0.
	terminal float64
	bending  bending
	inverted bool
}

// readFlowMatchEuler reads the options of FlowMatchEulerDiscreteScheduler.
func readFlowMatchEuler(o *options) func(Run) (Scheduler, error) {
	s := flowSchedule{
		steps:    o.integer("num_train_timesteps", 1000, 2, maxTrainSteps),
		shift:    o.real("shift", 1, 1/maxShift, maxShift),
		dynamic:  o.flag("use_dynamic_shifting"),
		linear:   o.choice("time_shift_type", "exponential", "linear") == "linear",
		terminal: o.share("shift_terminal", 0),
		bending:  readBending(o),
		inverted: o.flag("invert_sigmas"),
	}
	if s.terminal == 1 {
		o.fail("shift_terminal", "is 1, which leaves no way to go; must be below")
	}
	stochastic := o.flag("stochastic_sampling")
	return func(run Run) (Scheduler, error) {
		if err := s.check(run); err != nil {
			return nil, err
		}
		timesteps, sigmas := s.run(run)
		return &flowMatchEuler{timesteps: timesteps, sigmas: sigmas, stochastic: stochastic}, nil
	}
}

// check refuses what there are no sigmas for.
func (s flowSchedule) check(run Run) error {
	least := 1
	if s.terminal > 0 {
		least = 2 // Between the first sigma, 1, and the last is what is stretched.
	}
	if run.Steps < least || run.Steps > s.steps {
		return &StepsError{Steps: run.Steps, Least: least, Most: s.steps}
	}
	if s.dynamic && !(run.Mu > 0 && run.Mu < 100) {
		return &ConfigError{Field: "use_dynamic_shifting", Message: "is true, which needs a shift by the size of the picture; there is none for this model"}
	}
	return nil
}

// run gives the timesteps of a run and, one more, its sigmas.
func (s flowSchedule) run(run Run) (timesteps, sigmas []float32) {
	spaced := s.spaced(run)
	if s.bending.bent() {
		spaced = s.bending.sigmas(spaced[0], spaced[len(spaced)-1], run.Steps)
	}
	sigmas = toFloat32(spaced)
	end := float32(0)
	if s.inverted {
		sigmas, end = complements(sigmas), 1
	}
	for _, v := range sigmas {
		timesteps = append(timesteps, v*float32(s.steps))
	}
	return timesteps, append(sigmas, end)
}

// spaced gives sigmas in equal parts, shifted. The ends are those of the training, which
// the fixed shift has shifted already: it counts twice, as in diffusers.
func (s flowSchedule) spaced(run Run) []float64 {
	most, least := s.trained(float32(s.steps)), s.trained(1)
	sigmas := linspace64(most*float64(s.steps), least*float64(s.steps), run.Steps)
	for i, t := range sigmas {
		sigmas[i] = s.shifted(t/float64(s.steps), run.Mu)
	}
	if s.terminal > 0 {
		stretch := (1 - sigmas[len(sigmas)-1]) / (1 - s.terminal)
		for i, v := range sigmas {
			sigmas[i] = 1 - (1-v)/stretch
		}
	}
	return sigmas
}

// trained is the sigma of a timestep of the training, in float32.
func (s flowSchedule) trained(timestep float32) float64 {
	sigma := timestep / float32(s.steps)
	if s.dynamic {
		return float64(sigma)
	}
	shifted := float32(s.shift) * sigma
	return float64(shifted / (1 + float32(float32(s.shift-1)*sigma)))
}

// shifted moves a sigma towards noise.
func (s flowSchedule) shifted(sigma, mu float64) float64 {
	switch {
	case s.dynamic && s.linear:
		return mu / (mu + (1/sigma - 1))
	case s.dynamic:
		return math.Exp(mu) / (math.Exp(mu) + (1/sigma - 1))
	}
	return s.shift * sigma / (1 + float64((s.shift-1)*sigma))
}

// Timesteps are one a step.
func (s *flowMatchEuler) Timesteps() []float32 { return s.timesteps }

// Order is one call a step.
func (s *flowMatchEuler) Order() int { return 1 }

// InitNoiseSigma is 1.
func (s *flowMatchEuler) InitNoiseSigma() float32 { return 1 }

// ScaleModelInput copies.
func (s *flowMatchEuler) ScaleModelInput(_ int, dst, sample []float32) { copy(dst, sample) }

// Step moves along the velocity that was predicted, or to the picture that it implies
// and back with new noise.
func (s *flowMatchEuler) Step(i int, sample, prediction []float32, noise Noise) {
	sigma, next := s.sigmas[i], s.sigmas[i+1]
	if !s.stochastic {
		dt := next - sigma
		for k, v := range prediction {
			sample[k] += float32(dt * v)
		}
		return
	}
	drawn := make([]float32, len(sample))
	noise.Normal(drawn)
	for k, x := range sample {
		original := x - float32(sigma*prediction[k])
		sample[k] = float32((1-next)*original) + float32(next*drawn[k])
	}
}

// AddNoise mixes noise in, in place of picture.
func (s *flowMatchEuler) AddNoise(i int, original, noise []float32) {
	sigma := s.sigmas[i]
	for k, n := range noise {
		original[k] = float32(sigma*n) + float32((1-sigma)*original[k])
	}
}
