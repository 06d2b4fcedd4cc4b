// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// dpmMultistep integrates with the predictions of up to three timesteps, one network call
// a step (arXiv:2206.00927 and 2211.01095); DPMSolverMultistepScheduler of diffusers.
type dpmMultistep struct {
	formula    dpmFormula
	prediction string
	order      int
	timesteps  []float32
	levels     []level
	// lowerFinal ends few steps with lower orders; eulerFinal takes order 1 in the last.
	lowerFinal, eulerFinal bool
	// converted has what was predicted, the latest last.
	converted [][]float32
}

// readDPMMultistep reads the options of DPMSolverMultistepScheduler.
func readDPMMultistep(o *options) func(Run) (Scheduler, error) {
	schedule := readDPMSchedule(o)
	schedule.lu = o.flag("use_lu_lambdas")
	schedule.readClipping(o)
	s := dpmMultistep{
		prediction: readPrediction(o),
		order:      o.integer("solver_order", 2, 1, 3),
		lowerFinal: o.flagOr("lower_order_final", true),
		// At the end, 0, only the first order is defined.
		eulerFinal: o.flag("euler_at_final") || !schedule.endAtLeast,
	}
	s.formula = readDPMFormula(o, solverPlus, solverPlain, solverPlusSDE, solverSDE)
	s.formula.refuse(o, schedule.endAtLeast, s.order)
	return func(run Run) (Scheduler, error) {
		if err := schedule.train.check(run); err != nil {
			return nil, err
		}
		made := s
		var sigmas []float32
		made.timesteps, sigmas = schedule.run(run.Steps)
		made.levels = levels(sigmas)
		return &made, nil
	}
}

// Timesteps are one a step, or by rounding one more; with Karras sigmas some may repeat.
func (s *dpmMultistep) Timesteps() []float32 { return s.timesteps }

// Order is one call a step.
func (s *dpmMultistep) Order() int { return 1 }

// InitNoiseSigma is 1: samples keep the variance of the noise.
func (s *dpmMultistep) InitNoiseSigma() float32 { return 1 }

// ScaleModelInput copies.
func (s *dpmMultistep) ScaleModelInput(_ int, dst, sample []float32) { copy(dst, sample) }

// Step integrates from timestep i to the next with the highest order that the
// predictions so far, and stability near the end, allow.
func (s *dpmMultistep) Step(i int, sample, prediction []float32, noise Noise) {
	s.converted = append(s.converted, s.formula.convert(s.levels[i], s.prediction, sample, prediction))
	if len(s.converted) > s.order {
		s.converted = s.converted[1:]
	}
	order := s.orderAt(i)
	drawn := s.formula.draw(len(sample), noise)
	points, latest := recent(s.levels, i, order), s.converted[len(s.converted)-order:]
	s.formula.multistep(s.levels[i+1], points, latest, sample, drawn)
}

// orderAt is the order of the step from timestep i.
func (s *dpmMultistep) orderAt(i int) int {
	few := s.lowerFinal && len(s.timesteps) < 15
	left := len(s.timesteps) - i
	switch {
	case left == 1 && (s.eulerFinal || few):
		return 1
	case left == 2 && few:
		return min(len(s.converted), 2)
	}
	return len(s.converted)
}

// AddNoise mixes noise in at the timestep's level.
func (s *dpmMultistep) AddNoise(i int, original, noise []float32) { s.levels[i].add(original, noise) }
