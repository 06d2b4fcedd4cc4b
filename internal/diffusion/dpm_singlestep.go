// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "slices"

// dpmSinglestep integrates in groups of up to three timesteps, each group from the sample
// that it began with, one network call a timestep (arXiv:2206.00927 and 2211.01095);
// DPMSolverSinglestepScheduler of diffusers.
type dpmSinglestep struct {
	levelled
	formula    dpmFormula
	prediction string
	order      int
	lowerFinal bool
	// orders has the order of the step from each timestep.
	orders []int
	history
	// start is the sample that the group began with.
	start []float32
}

// readDPMSinglestep reads the options of DPMSolverSinglestepScheduler.
func readDPMSinglestep(o *options) func(Run) (Scheduler, error) {
	schedule := readDPMSigmas(o, zeroSNRUnknown)
	schedule.roundAll = true
	schedule.readClipping(o)
	s := dpmSinglestep{
		prediction: readPrediction(o),
		order:      o.integer("solver_order", 2, 1, 3),
		lowerFinal: o.flag("lower_order_final"),
	}
	s.formula = readDPMFormula(o, solverPlus, solverPlain, solverPlusSDE)
	s.formula.refuse(o, schedule.endAtLeast, s.order)
	if s.formula.clip.dynamic && !s.formula.predictsPicture() {
		// diffusers fails in the first step.
		o.fail("thresholding", "is true, which algorithm_type %s can't do here; must be false", s.formula.algorithm)
	}
	return func(run Run) (Scheduler, error) {
		common, err := schedule.run(run)
		if err != nil {
			return nil, err
		}
		made := s
		made.levelled = common
		// Steps that don't fill groups, and an end at 0, need lower orders in any case.
		lower := s.lowerFinal || run.Steps%s.order != 0 || !schedule.endAtLeast
		made.orders = singlestepOrders(run.Steps, s.order, lower)
		if !schedule.endAtLeast {
			made.orders[run.Steps-1] = 1
		}
		return &made, nil
	}
}

// singlestepOrders counts 1, 2, … up to the order and begins again. With lower, the last
// group is cut, so that it ends low.
func singlestepOrders(steps, order int, lower bool) []int {
	orders := make([]int, steps)
	for i := range orders {
		orders[i] = i%order + 1
	}
	if !lower || steps%order != 0 {
		return orders
	}
	// The last group is whole, and is taken apart: 1, 1 for 1, 2 and 1, 2, 1 for 1, 2, 3.
	orders[steps-1] = 1
	return orders
}

// Step integrates from the begin of timestep i's group to the timestep after i.
func (s *dpmSinglestep) Step(i int, sample, prediction []float32, noise Noise) {
	s.add(s.formula.convert(s.levels[i], s.prediction, sample, prediction), s.order, s.stays(i))
	drawn := s.formula.draw(len(sample), noise)
	// A run that begins in the middle of a group has too few predictions for it.
	order := min(s.orders[i], len(s.converted))
	if order == 1 {
		s.start = slices.Clone(sample)
	}
	copy(sample, s.start)
	s.formula.singlestep(s.levels[i+1], recent(s.levels, i, order), s.latest(order), sample, drawn)
}

// recent gives the levels of the timesteps up to i, as many as the order, the oldest first.
func recent(all []level, i, order int) []level { return all[i+1-order : i+1] }
