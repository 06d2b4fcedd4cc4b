// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"math"
	"slices"
)

// Ways to pick the timesteps of a run among those of the training (table 2 of
// arXiv:2305.08891).
const (
	fieldSpacing = "timestep_spacing"

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
	out := evenTimesteps(trainSteps, steps)
	for i, t := range out {
		out[i] = float64(float32(t))
	}
	return out
}

// evenTimesteps is numpy.linspace(0, trainSteps-1, steps), from the last down. One step
// is at 0.
func evenTimesteps(trainSteps, steps int) []float64 {
	out := linspace64(0, float64(trainSteps-1), steps)
	slices.Reverse(out)
	return out
}

// roundAll rounds to whole numbers, halves to even.
func roundAll(values []float64) []float64 {
	for i, v := range values {
		values[i] = math.RoundToEven(v)
	}
	return values
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
