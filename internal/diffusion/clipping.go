// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"math"
	"slices"
)

// clipping bounds the pictures that predictions imply. The zero value leaves them alone.
type clipping struct {
	// within bounds the numbers, unless it is 0.
	within float32
	// dynamic bounds and scales them by their own quantile (section 2.3 of
	// arXiv:2205.11487): ratio is which, and most the largest that it counts for.
	dynamic     bool
	ratio, most float32
}

// leastBound keeps what is divided by a bound within float32.
const leastBound = 1e-6

// readClip reads the options for a fixed bound.
func readClip(o *options, otherwise bool) clipping {
	within := o.real("clip_sample_range", 1, leastBound, math.MaxFloat32)
	clip := otherwise
	given := o.read("clip_sample", &clip, "true or false")
	o.clipsUnasked = clip && !given
	if !clip {
		return clipping{}
	}
	return clipping{within: float32(within)}
}

// readThresholding reads the options for dynamic bounds.
func readThresholding(o *options) clipping {
	return clipping{
		dynamic: o.flag("thresholding"),
		ratio:   float32(o.share("dynamic_thresholding_ratio", 0.995)),
		most:    float32(o.real("sample_max_value", 1, leastBound, math.MaxFloat32)),
	}
}

// readClipping reads both; dynamic bounds come before a fixed one.
func readClipping(o *options, otherwise bool) clipping {
	fixed, c := readClip(o, otherwise), readThresholding(o)
	c.within = fixed.within
	return c
}

// apply bounds the numbers of one picture, in place.
func (c clipping) apply(picture []float32) {
	switch {
	case c.dynamic:
		bound := min(max(c.quantile(picture), 1), c.most)
		for k, v := range picture {
			picture[k] = min(max(v, -bound), bound) / bound
		}
	case c.within != 0:
		for k, v := range picture {
			picture[k] = min(max(v, -c.within), c.within)
		}
	}
}

// quantile of the absolute values, in straight lines between them as torch.quantile has it.
func (c clipping) quantile(picture []float32) float32 {
	sorted := make([]float32, len(picture))
	for k, v := range picture {
		sorted[k] = float32(math.Abs(float64(v)))
	}
	slices.Sort(sorted)
	rank := c.ratio * float32(len(sorted)-1)
	below := min(int(rank), len(sorted)-1)
	low, high := sorted[below], sorted[min(below+1, len(sorted)-1)]
	return low + float32((rank-float32(below))*(high-low))
}
