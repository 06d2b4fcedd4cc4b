// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "math"

// lmsOrder is how many derivatives LMS goes by.
const lmsOrder = 4

// lms integrates a polynomial through the last derivatives, one network call a step
// (a linear multistep method, Adams–Bashforth with uneven steps); LMSDiscreteScheduler of
// diffusers.
type lms struct {
	exploding
	// derivatives has the last ones, the latest first.
	derivatives [][]float32
}

// readLMS reads the options of LMSDiscreteScheduler.
func readLMS(o *options) func(Run) (Scheduler, error) {
	schedule := readExploding(o, usualTraining(zeroSNRUnknown))
	schedule.bending = readBending(o)
	prediction := readPrediction(o)
	return func(run Run) (Scheduler, error) {
		common, err := schedule.run(run)
		if err != nil {
			return nil, err
		}
		common.prediction = prediction
		return &lms{exploding: common}, nil
	}
}

// Step integrates from sigma i to the next. A run that begins in the middle has fewer
// derivatives than its polynomial has points; diffusers leaves the missing ones out.
func (s *lms) Step(i int, sample, prediction []float32, _ Noise) {
	if s.sigmas[i+1] == s.sigmas[i] {
		return // Nowhere to go, and what is predicted here will be predicted again.
	}
	latest := s.derivative(s.sigmas[i], sample, prediction)
	s.derivatives = append([][]float32{latest}, s.derivatives...)
	s.derivatives = s.derivatives[:min(len(s.derivatives), lmsOrder)]
	points := s.points(i)
	sums := make([]float32, len(sample))
	for j := range min(len(points), len(s.derivatives)) {
		weight := float32(lagrangeIntegral(points, j, float64(s.sigmas[i]), float64(s.sigmas[i+1])))
		for k, d := range s.derivatives[j] {
			sums[k] += float32(weight * d)
		}
	}
	for k, v := range sums {
		sample[k] += v
	}
}

// points are the sigmas that the polynomial of step i goes through, the latest first, each
// once.
func (s *lms) points(i int) []float64 {
	points := []float64{float64(s.sigmas[i])}
	for k := i - 1; k >= 0 && len(points) < lmsOrder; k-- {
		if s.sigmas[k] != s.sigmas[k+1] {
			points = append(points, float64(s.sigmas[k]))
		}
	}
	return points
}

// lagrangeIntegral integrates, between the bounds, the polynomial that is 1 at point j and
// 0 at the others. Two nodes of Gauss and Legendre are exact up to degree 3, which four
// points have; diffusers comes to the same with scipy.integrate.quad.
func lagrangeIntegral(points []float64, j int, from, to float64) float64 {
	value := func(x float64) float64 {
		product := 1.0
		for k, p := range points {
			if k != j {
				product *= (x - p) / (points[j] - p)
			}
		}
		return product
	}
	middle, half := (from+to)/2, (to-from)/2
	offset := half / math.Sqrt(3)
	return half * (value(middle-offset) + value(middle+offset))
}
