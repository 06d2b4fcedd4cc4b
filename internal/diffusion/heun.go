// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "slices"

// heun follows the probability flow with Heun's method, two network calls a step but one
// in the last (algorithm 1 of arXiv:2206.00364); HeunDiscreteScheduler of diffusers.
type heun struct {
	exploding
	// start and slope are the sample and the derivative that a step began with, between
	// its two calls.
	start, slope []float32
}

// readHeun reads the options of HeunDiscreteScheduler.
func readHeun(o *options) func(Run) (Scheduler, error) {
	known := trainingOptions{start: 0.00085, end: 0.012, schedule: scheduleLinear, schedules: []string{scheduleExp}}
	schedule := readExploding(o, known)
	schedule.bending = readBending(o)
	prediction, clip := readPrediction(o), readClip(o, false)
	return func(run Run) (Scheduler, error) {
		common, err := schedule.run(run)
		if err != nil {
			return nil, err
		}
		common.prediction, common.clip = prediction, clip
		common.timesteps = append(common.timesteps[:1:1], twice(common.timesteps[1:])...)
		last := len(common.sigmas) - 1
		inner := twice(common.sigmas[1:last])
		common.sigmas = slices.Concat(common.sigmas[:1], inner, common.sigmas[last:])
		return &heun{exploding: common}, nil
	}
}

// Order is two calls a step.
func (s *heun) Order() int { return 2 }

// Step goes to the next sigma as Euler's method does, and, once the network was called
// there, again with the mean of both derivatives.
func (s *heun) Step(i int, sample, prediction []float32, _ Noise) {
	if s.start == nil {
		s.start = slices.Clone(sample)
		s.slope = s.derivative(s.sigmas[i], sample, prediction)
		s.move(sample, s.sigmas[i], s.sigmas[i+1])
		return
	}
	for k, d := range s.derivative(s.sigmas[i], sample, prediction) {
		s.slope[k] = (s.slope[k] + d) / 2
	}
	s.move(sample, s.sigmas[i-1], s.sigmas[i])
	s.start, s.slope = nil, nil
}

// move takes the sample from the start of the step along the slope.
func (s *heun) move(sample []float32, from, to float32) {
	dt := to - from
	for k, x := range s.start {
		sample[k] = x + float32(s.slope[k]*dt)
	}
}

// twice repeats each value.
func twice(values []float32) []float32 {
	out := make([]float32, 0, 2*len(values))
	for _, v := range values {
		out = append(out, v, v)
	}
	return out
}
