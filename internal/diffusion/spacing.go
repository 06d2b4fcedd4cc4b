// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "math"

// Ways to pick the timesteps of a run among those of the training (table 2 of
// arXiv:2305.08891).
const (
	spacingLinspace = "linspace"
	spacingLeading  = "leading"
	spacingTrailing = "trailing"
)

// spacedTimesteps picks timesteps from the last training step down. They may be
// fractional (linspace) and, by rounding, one more than asked for (trailing at 61, 103,
// 121 and others), as in diffusers.
func spacedTimesteps(spacing string, trainSteps, steps, offset int) []float64 {
	switch spacing {
	case spacingLeading:
		return leadingTimesteps(trainSteps/steps, steps, offset)
	case spacingTrailing:
		return trailingTimesteps(trainSteps, steps)
	}
	return linspaceTimesteps(trainSteps, steps)
}

// linspaceTimesteps goes from the last training step to 0 in equal parts. The numbers
// are rounded to float32, as numpy.linspace(dtype=float32) gives them.
func linspaceTimesteps(trainSteps, steps int) []float64 {
	out := make([]float64, steps)
	last := float64(trainSteps - 1)
	for i := range out {
		out[steps-1-i] = float64(float32(float64(i) * (last / float64(steps-1))))
	}
	if steps == 1 {
		out[0] = 0
	} else {
		out[0] = last
	}
	return out
}

// leadingTimesteps are whole multiples of the ratio, shifted by the offset.
func leadingTimesteps(ratio, steps, offset int) []float64 {
	out := make([]float64, steps)
	for i := range out {
		out[i] = float64((steps-1-i)*ratio + offset)
	}
	return out
}

// trailingTimesteps steps down from the end of the training:
// numpy.arange(N, 0, -N/n).round() - 1, halves rounded to even.
func trailingTimesteps(trainSteps, steps int) []float64 {
	return trailingFrom(trainSteps, float64(trainSteps)/float64(steps))
}

// trailingFrom steps down from a start by the ratio, until 0: as many as fit.
func trailingFrom(last int, ratio float64) []float64 {
	start, step := float64(last), -ratio
	// numpy.arange takes its difference from the first two numbers as rounded.
	delta := (start + step) - start
	out := make([]float64, int(math.Ceil((0-start)/step)))
	for i := range out {
		out[i] = math.RoundToEven(start+float64(float64(i)*delta)) - 1
	}
	return out
}
