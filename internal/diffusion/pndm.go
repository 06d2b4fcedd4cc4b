// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "slices"

// pndmOrder is how many predictions PNDM goes by.
const pndmOrder = 4

// pndm goes along the curve of the noise with a linear multistep method, started either by
// Runge and Kutta's, four network calls a step in the first three steps, or by calling
// the network twice at the second timestep (arXiv:2202.09778); PNDMScheduler of diffusers.
//
// It counts calls, not timesteps, as diffusers does: a run that begins in the middle
// starts in the same way as a whole one.
type pndm struct {
	levelled
	prediction string
	train      training
	end        float32
	// whole are the timesteps as whole numbers; ratio is the distance of two.
	whole []int
	ratio int
	// rungeKutta is how many of the calls are of that method.
	rungeKutta int
	calls      int
	// latest has what was predicted, the latest last, and start the sample that a step of
	// several calls began with.
	latest [][]float32
	start  []float32
	// sum is the weighted sum of the predictions of a step of Runge and Kutta's so far.
	sum []float32
}

// readPNDM reads the options of PNDMScheduler.
func readPNDM(o *options) func(Run) (Scheduler, error) {
	schedule := readTableSchedule(o, usualTraining(zeroSNRUnknown))
	prediction := readNoisePrediction(o)
	skip := o.flag("skip_prk_steps")
	end := readEndLeft(o, schedule.train, false)
	return func(run Run) (Scheduler, error) {
		timesteps, err := schedule.timesteps(run)
		if err != nil {
			return nil, err
		}
		s := &pndm{prediction: prediction, train: schedule.train, end: end, ratio: schedule.ratio(run.Steps)}
		switch {
		case skip:
			s.whole = repeatSecond(timesteps)
		case len(timesteps) < pndmOrder:
			return nil, &StepsError{Steps: run.Steps, Least: pndmOrder, Most: schedule.train.steps}
		default:
			first := rungeKuttaTimesteps(timesteps[:pndmOrder], s.ratio/2)
			s.rungeKutta = len(first)
			s.whole = append(first, timesteps[pndmOrder-1:]...)
		}
		if s.levelled, err = schedule.train.at(s.whole, prediction); err != nil {
			return nil, err
		}
		return s, nil
	}
}

// repeatSecond calls the network twice at the second timestep.
func repeatSecond(timesteps []int) []int {
	if len(timesteps) == 1 {
		return timesteps
	}
	return slices.Insert(slices.Clone(timesteps), 1, timesteps[1])
}

// rungeKuttaTimesteps are those of three steps: where each begins, twice in its middle,
// and where it ends.
func rungeKuttaTimesteps(timesteps []int, half int) []int {
	var out []int
	for i, t := range timesteps[:pndmOrder-1] {
		middle := timesteps[i+1] + half
		out = append(out, t, middle, middle, timesteps[i+1])
	}
	return out
}

// Step takes the sample to where the next call of the network is.
func (s *pndm) Step(i int, sample, prediction []float32, _ Noise) {
	if s.calls < s.rungeKutta {
		s.stepRungeKutta(i, sample, prediction)
	} else {
		s.stepMultistep(i, sample, prediction)
	}
	s.calls++
}

// stepRungeKutta is one of the four calls of a step: the first two go to its middle, the
// others to its end, the last with the weighted sum of all predictions.
func (s *pndm) stepRungeKutta(i int, sample, prediction []float32) {
	const weight = 1.0 / 6
	call := s.calls % 4
	from, to := s.whole[s.calls-call], s.whole[i]
	if call%2 == 0 {
		to -= s.ratio / 2
	}
	slope := prediction
	switch call {
	case 0:
		s.latest = append(s.latest, slices.Clone(prediction))
		s.start = slices.Clone(sample)
		s.sum = scaled(weight, prediction)
	case 3:
		slope = combined([]float32{1, weight}, s.sum, prediction)
	default:
		s.sum = combined([]float32{1, 2 * weight}, s.sum, prediction)
	}
	copy(sample, s.start)
	s.move(sample, slope, from, to)
}

// stepMultistep goes from one timestep to the next. The second call of a run without
// Runge and Kutta's steps is where the first led, and goes there again with the mean of
// both predictions.
func (s *pndm) stepMultistep(i int, sample, prediction []float32) {
	from, to := s.whole[i], s.whole[i]-s.ratio
	if s.calls == 1 {
		from, to = s.whole[i]+s.ratio, s.whole[i]
		copy(sample, s.start)
		s.move(sample, scaled(0.5, combined([]float32{1, 1}, prediction, s.latest[0])), from, to)
		return
	}
	if s.calls == 0 {
		s.start = slices.Clone(sample)
	}
	s.latest = append(s.latest[max(0, len(s.latest)-pndmOrder+1):], slices.Clone(prediction))
	s.move(sample, s.slope(), from, to)
}

// slope is the formula of Adams and Bashforth for as many predictions as there are.
func (s *pndm) slope() []float32 {
	newest := slices.Clone(s.latest)
	slices.Reverse(newest)
	switch len(newest) {
	case 1:
		return newest[0]
	case 2:
		return divided(combined([]float32{3, -1}, newest...), 2)
	case 3:
		return divided(combined([]float32{23, -16, 5}, newest...), 12)
	}
	return scaled(1.0/24, combined([]float32{55, -59, 37, -9}, newest...))
}

// move takes the sample, in place, from one timestep to the other by formula 9 of the
// paper.
func (s *pndm) move(sample, slope []float32, from, to int) {
	left, next := s.train.left(from), s.train.leftOr(to, s.end)
	at := level{alpha: sqrt32(left), sigma: sqrt32(1 - left)}
	noise := at.noise(s.prediction, sample, slope)
	ofSample := sqrt32(next / left)
	divisor := left*sqrt32(1-next) + sqrt32(left*(1-left)*next)
	for k, n := range noise {
		sample[k] = float32(ofSample*sample[k]) - float32((next-left)*n)/divisor
	}
}

// combined sums the slices, each times its weight.
func combined(weights []float32, slopes ...[]float32) []float32 {
	out := make([]float32, len(slopes[0]))
	for j, slope := range slopes {
		for k, v := range slope {
			out[k] += float32(weights[j] * v)
		}
	}
	return out
}

// scaled multiplies each number.
func scaled(factor float32, values []float32) []float32 {
	return combined([]float32{factor}, values)
}

// divided divides each number.
func divided(values []float32, divisor float32) []float32 {
	for k, v := range values {
		values[k] = v / divisor
	}
	return values
}
