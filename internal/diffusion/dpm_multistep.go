// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// dpmMultistep integrates with the predictions of up to three timesteps, one network call
// a step (arXiv:2206.00927 and 2211.01095); DPMSolverMultistepScheduler of diffusers.
type dpmMultistep struct {
	levelled
	formula    dpmFormula
	prediction string
	order      int
	// lowerFinal ends few steps with lower orders; eulerFinal takes order 1 in the last.
	lowerFinal, eulerFinal bool
	history
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
		common, err := schedule.run(run)
		if err != nil {
			return nil, err
		}
		made := s
		made.levelled = common
		return &made, nil
	}
}

// Step integrates from timestep i to the next with the highest order that the
// predictions so far, and stability near the end, allow.
func (s *dpmMultistep) Step(i int, sample, prediction []float32, noise Noise) {
	s.add(s.formula.convert(s.levels[i], s.prediction, sample, prediction), s.order, s.stays(i))
	order := s.orderAt(i)
	drawn := s.formula.draw(len(sample), noise)
	s.formula.multistep(s.levels[i+1], recent(s.levels, i, order), s.latest(order), sample, drawn)
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
