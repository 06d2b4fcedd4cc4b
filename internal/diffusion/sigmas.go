// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"math"
	"slices"
	"sort"
)

// sigmas gives the standard deviation of the noise beside the picture at each training
// timestep: sqrt((1−ᾱ)/ᾱ), rising, in float32.
func (t training) sigmas() []float32 {
	out := make([]float32, len(t.alphasCumprod))
	for i, a := range t.alphasCumprod {
		out[i] = sqrt32((1 - a) / a)
	}
	return out
}

// interpolate gives the table's values at the timesteps, in straight lines between its
// entries and constant beyond them, as numpy.interp does in float64.
func interpolate(table []float32, timesteps []float64) []float64 {
	out := make([]float64, len(timesteps))
	last := len(table) - 1
	for i, t := range timesteps {
		low := int(math.Floor(t))
		switch {
		case low < 0:
			out[i] = float64(table[0])
		case low >= last:
			out[i] = float64(table[last])
		default:
			a, b := float64(table[low]), float64(table[low+1])
			out[i] = float64((b-a)*(t-float64(low))) + a
		}
	}
	return out
}

// logLinearSigmas falls from the last sigma of the training to the first in equal
// ratios: one number more than there are steps.
func logLinearSigmas(table []float32, steps int) []float64 {
	logs := linspace(math.Log(float64(table[len(table)-1])), math.Log(float64(table[0])), steps+1)
	out := make([]float64, len(logs))
	for i, l := range logs {
		out[i] = float64(float32(math.Exp(float64(l))))
	}
	return out
}

// karrasSigmas falls from most to least as equation 5 of arXiv:2206.00364 has it, ρ = 7.
func karrasSigmas(most, least float64, steps int) []float64 {
	const rho = 7.0
	from, to := math.Pow(most, 1/rho), math.Pow(least, 1/rho)
	out := linspace64(0, 1, steps)
	for i, r := range out {
		out[i] = math.Pow(from+float64(r*(to-from)), rho)
	}
	return out
}

// exponentialSigmas falls from most to least in equal ratios.
func exponentialSigmas(most, least float64, steps int) []float64 {
	from, to := math.Log(most), math.Log(least)
	out := linspace64(from, to, steps)
	for i, l := range out {
		out[i] = math.Exp(l)
	}
	return out
}

// linspace64 is numpy.linspace(start, end, n).
func linspace64(start, end float64, n int) []float64 {
	out := make([]float64, n)
	step := (end - start) / float64(n-1)
	for i := 1; i < n-1; i++ {
		out[i] = float64(float64(i)*step) + start
	}
	out[n-1] = end
	out[0] = start
	return out
}

// sigmaTimesteps finds, on the training's table, the fractional timestep of each sigma,
// by straight lines between the logarithms.
func sigmaTimesteps(table []float32, sigmas []float64) []float64 {
	logs := make([]float32, len(table))
	for i, s := range table {
		logs[i] = float32(math.Log(float64(s)))
	}
	out, last := make([]float64, len(sigmas)), len(logs)-1
	for i, s := range sigmas {
		l := math.Log(math.Max(s, 1e-10))
		// Only the last entry can be below the one before, see zeroSNRFloored.
		above := last + 1
		if float64(logs[last]) > l {
			above = sort.Search(last, func(k int) bool { return float64(logs[k]) > l })
		}
		low := min(max(above-1, 0), last-1)
		a, b := logs[low], logs[low+1]
		w := (float64(a) - l) / float64(a-b)
		w = min(max(w, 0), 1)
		out[i] = float64((1-w)*float64(low)) + float64(w*float64(low+1))
	}
	return out
}

// initSigma is the standard deviation of the start of a run.
func initSigma(spacing string, sigmas []float32) float32 {
	most := slices.Max(sigmas)
	if spacing == spacingLeading {
		// The first timestep is not the noisiest: a picture is in the start as well.
		return sqrt32(float32(most*most) + 1)
	}
	return most
}

func toFloat32(values []float64) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(v)
	}
	return out
}

func log32(v float32) float32 { return float32(math.Log(float64(v))) }

func exp32(v float32) float32 { return float32(math.Exp(float64(v))) }
