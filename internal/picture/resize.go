// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"context"
	"math"
	"slices"
)

// Resize gives the picture in another size, at least 1x1, with a Lanczos filter over three
// lobes: the rows and then the columns, or the other way round, each rounded to 8 bits, as
// resize(size, Resampling.LANCZOS) of Pillow 13 does. It gives ctx's error soon after ctx
// is done.
func (p RGB) Resize(ctx context.Context, width, height int) (RGB, error) {
	passes := []func(RGB) (RGB, error){
		func(p RGB) (RGB, error) { return p.resizeRows(ctx, width) },
		func(p RGB) (RGB, error) { return p.resizeColumns(ctx, height) },
	}
	if columnsFirst(p.Width, p.Height, width, height) {
		slices.Reverse(passes)
	}
	for _, pass := range passes {
		var err error
		if p, err = pass(p); err != nil {
			return RGB{}, err
		}
	}
	return p, nil
}

// columnsFirst says whether the columns are resized before the rows: where the height
// shrinks by more than twice what the width does. It saves time, and as the first result
// is rounded it also shows in the last bits. Pillow has the rule since version 13 (its
// pull request 9549).
func columnsFirst(fromWidth, fromHeight, width, height int) bool {
	return height < fromHeight && fromHeight-height > 2*max(fromWidth-width, 0)
}

// resizeRows gives each row another number of pixels.
func (p RGB) resizeRows(ctx context.Context, width int) (RGB, error) {
	if width == p.Width {
		return p, nil
	}
	out, windows := New(width, p.Height), lanczosWindows(p.Width, width)
	for y := range p.Height {
		if err := ctx.Err(); err != nil {
			return RGB{}, err
		}
		from, to := p.row(y), out.row(y)
		for x, w := range windows {
			red, green, blue := halfWeight, halfWeight, halfWeight
			pixels := from[channels*w.first:]
			for i, weight := range w.weights {
				red += int(pixels[channels*i]) * weight
				green += int(pixels[channels*i+1]) * weight
				blue += int(pixels[channels*i+2]) * weight
			}
			to[channels*x], to[channels*x+1], to[channels*x+2] = clip(red), clip(green), clip(blue)
		}
	}
	return out, nil
}

// resizeColumns gives each column another number of pixels.
func (p RGB) resizeColumns(ctx context.Context, height int) (RGB, error) {
	if height == p.Height {
		return p, nil
	}
	out, windows := New(p.Width, height), lanczosWindows(p.Height, height)
	sums := make([]int, channels*p.Width)
	for y, w := range windows {
		if err := ctx.Err(); err != nil {
			return RGB{}, err
		}
		for i := range sums {
			sums[i] = halfWeight
		}
		for i, weight := range w.weights {
			for k, v := range p.row(w.first + i) {
				sums[k] += int(v) * weight
			}
		}
		to := out.row(y)
		for k, sum := range sums {
			to[k] = clip(sum)
		}
	}
	return out, nil
}

func (p RGB) row(y int) []uint8 { return p.Pix[channels*p.Width*y : channels*p.Width*(y+1)] }

// Weights are whole numbers of this fraction. Together with a colour and the sum over a
// filter, which overshoots, they stay within 32 bits in Pillow.
const (
	weightBits = 32 - 8 - 2
	oneWeight  = 1 << weightBits
	halfWeight = oneWeight / 2
)

// clip takes a sum of weighted colours to the nearest colour.
func clip(sum int) uint8 { return uint8(min(max(sum>>weightBits, 0), math.MaxUint8)) }

// window is what one pixel is made of: the pixels from first on, each with a weight.
type window struct {
	first   int
	weights []int
}

// lanczosWindows gives a window for each of the pixels that a line is to have.
func lanczosWindows(from, to int) []window {
	scale := float64(from) / float64(to)
	stretch := max(scale, 1) // A line that shrinks is filtered over more of its pixels.
	support := lanczosLobes * stretch
	windows := make([]window, to)
	for i := range windows {
		center := (float64(i) + 0.5) * scale
		first := max(int(center-support+0.5), 0)
		last := min(int(center+support+0.5), from)
		values := make([]float64, last-first)
		var sum float64
		for k := range values {
			values[k] = lanczos((float64(k+first) - center + 0.5) * (1 / stretch))
			sum += values[k]
		}
		windows[i] = window{first, fixedPoint(values, sum)}
	}
	return windows
}

// fixedPoint divides values by their sum and rounds them to whole weights, half away from
// zero.
func fixedPoint(values []float64, sum float64) []int {
	weights := make([]int, len(values))
	for i, v := range values {
		// The conversion keeps the compiler from fusing the multiplication with the
		// addition, which would round differently.
		scaled := float64((v / sum) * oneWeight)
		weights[i] = int(scaled + math.Copysign(0.5, scaled))
	}
	return weights
}

// lanczosLobes is the number of lobes on each side of the filter.
const lanczosLobes = 3

// lanczos is sinc(x)·sinc(x/3) within three lobes, and 0 outside.
func lanczos(x float64) float64 {
	if x < -lanczosLobes || x >= lanczosLobes {
		return 0
	}
	return sinc(x) * sinc(x/lanczosLobes)
}

// sinc is sin(πx)/(πx).
func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}
