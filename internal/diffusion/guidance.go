// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "math"

// Guide moves the prediction away from what the negative prompt gives (classifier-free
// guidance): out = uncond + scale·(cond − uncond). The slices have one length; out may
// be one of the others.
func Guide(out, uncond, cond []float32, scale float32) {
	for i, u := range uncond {
		// The conversion keeps the compiler from fusing multiplication and addition,
		// which would round differently from torch.
		out[i] = u + float32(scale*(cond[i]-u))
	}
}

// RescaleGuidance brings the standard deviation of a guided prediction back towards
// that of the conditional one, by the share rescale from 0 to 1, in place (section 3.4
// of arXiv:2305.08891). Both are of one picture.
func RescaleGuidance(guided, cond []float32, rescale float32) {
	factor := float32(deviation(cond) / deviation(guided))
	for i, v := range guided {
		guided[i] = float32(rescale*float32(v*factor)) + float32((1-rescale)*v)
	}
}

// deviation is the unbiased standard deviation.
func deviation(values []float32) float64 {
	var mean, squares float64
	for _, v := range values {
		mean += float64(v)
	}
	mean /= float64(len(values))
	for _, v := range values {
		squares += (float64(v) - mean) * (float64(v) - mean)
	}
	return math.Sqrt(squares / float64(len(values)-1))
}
