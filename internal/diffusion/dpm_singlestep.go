// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "slices"

// dpmSinglestep integrates in groups of up to three timesteps, each group from the sample
// that it began with, one network call a timestep (arXiv:2206.00927 and 2211.01095);
// DPMSolverSinglestepScheduler of diffusers.
type dpmSinglestep struct {
	formula    dpmFormula
	prediction string
	order      int
	lowerFinal bool
	timesteps  []float32
	levels     []level
	// orders has the order of the step from each timestep.
	orders []int
	// converted has what was predicted, the latest last, and start the sample that the
	// group began with.
	converted [][]float32
	start     []float32
}

// readDPMSinglestep reads the options of DPMSolverSinglestepScheduler.
func readDPMSinglestep(o *options) func(Run) (Scheduler, error) {
	schedule := readDPMSigmas(o)
	schedule.roundAll = true
	schedule.readClipping(o)
	s := dpmSinglestep{
		prediction: readPrediction(o),
		order:      o.integer("solver_order", 2, 1, 3),
		lowerFinal: o.flag("lower_order_final"),
	}
	s.formula = readDPMFormula(o, solverPlus, solverPlain, solverPlusSDE)
	s.formula.refuse(o, schedule.endAtLeast, s.order)
	return func(run Run) (Scheduler, error) {
		if err := schedule.train.check(run); err != nil {
			return nil, err
		}
		made := s
		var sigmas []float32
		made.timesteps, sigmas = schedule.run(run.Steps)
		made.levels = levels(sigmas)
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

// Timesteps are one a step.
func (s *dpmSinglestep) Timesteps() []float32 { return s.timesteps }

// Order is one call a step.
func (s *dpmSinglestep) Order() int { return 1 }

// InitNoiseSigma is 1: samples keep the variance of the noise.
func (s *dpmSinglestep) InitNoiseSigma() float32 { return 1 }

// ScaleModelInput copies.
func (s *dpmSinglestep) ScaleModelInput(_ int, dst, sample []float32) { copy(dst, sample) }

// Step integrates from the begin of timestep i's group to the timestep after i.
func (s *dpmSinglestep) Step(i int, sample, prediction []float32, noise Noise) {
	s.converted = append(s.converted, s.formula.convert(s.levels[i], s.prediction, sample, prediction))
	if len(s.converted) > s.order {
		s.converted = s.converted[1:]
	}
	drawn := s.formula.draw(len(sample), noise)
	// A run that begins in the middle of a group has too few predictions for it.
	order := min(s.orders[i], len(s.converted))
	if order == 1 {
		s.start = slices.Clone(sample)
	}
	copy(sample, s.start)
	points, latest := recent(s.levels, i, order), s.converted[len(s.converted)-order:]
	s.formula.singlestep(s.levels[i+1], points, latest, sample, drawn)
}

// AddNoise mixes noise in at the timestep's level.
func (s *dpmSinglestep) AddNoise(i int, original, noise []float32) { s.levels[i].add(original, noise) }

// recent gives the levels of the timesteps up to i, as many as the order, the oldest first.
func recent(all []level, i, order int) []level { return all[i+1-order : i+1] }
