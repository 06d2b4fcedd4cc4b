// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package vp8l

import (
	"math"
	"math/bits"
)

// Tiles of 1<<tileBits pixels each way have a predictor of their own.
const tileBits = 4

// tiles is how many tiles cover a side.
func tiles(side int) int { return (side + 1<<tileBits - 1) >> tileBits }

// predictors guess a pixel of its left, upper and upper left neighbour, by their numbers in
// the bitstream. These five of fourteen are those that pictures gain most from.
var predictors = []struct {
	mode  byte
	guess func(left, top, topLeft pixel) pixel
}{
	{1, func(left, _, _ pixel) pixel { return left }},
	{2, func(_, top, _ pixel) pixel { return top }},
	{7, average},
	{11, nearer},
	{12, gradient},
}

// average is halfway between left and top.
func average(left, top, _ pixel) (out pixel) {
	for c := range out {
		out[c] = byte((int(left[c]) + int(top[c])) / 2)
	}
	return out
}

// nearer is left or top, whichever the gradient is nearer to over all colours.
func nearer(left, top, topLeft pixel) pixel {
	toLeft, toTop := 0, 0
	for c := range left {
		toLeft += distance(top[c], topLeft[c])
		toTop += distance(left[c], topLeft[c])
	}
	if toLeft < toTop {
		return left
	}
	return top
}

// gradient is left + top − topLeft, clamped.
func gradient(left, top, topLeft pixel) (out pixel) {
	for c := range out {
		out[c] = byte(min(max(int(left[c])+int(top[c])-int(topLeft[c]), 0), math.MaxUint8))
	}
	return out
}

func distance(a, b byte) int {
	if a > b {
		return int(a - b)
	}
	return int(b - a)
}

// predict replaces pixels by how far they are from what is predicted of them. modes says for
// each tile, in its green, how that is done.
func predict(pixels []pixel, width, height int) (modes, residuals []pixel) {
	modes = make([]pixel, 0, tiles(width)*tiles(height))
	residuals = make([]pixel, len(pixels))
	tried := make([]pixel, len(pixels))
	for y0 := 0; y0 < height; y0 += 1 << tileBits {
		for x0 := 0; x0 < width; x0 += 1 << tileBits {
			tile := rectangle{x0, y0, min(x0+1<<tileBits, width), min(y0+1<<tileBits, height)}
			best := math.MaxInt
			var mode byte
			for _, p := range predictors {
				if cost := tile.residuals(tried, pixels, width, p.guess); cost < best {
					best, mode = cost, p.mode
					tile.copy(residuals, tried, width)
				}
			}
			modes = append(modes, pixel{green: mode})
		}
	}
	return modes, residuals
}

// rectangle is a part of a picture, from x0, y0 to before x1, y1.
type rectangle struct{ x0, y0, x1, y1 int }

// residuals writes what a predictor leaves of the rectangle to out and gives the sum of the
// distances' lengths in bits. The first row and column have predictors
// of their own: opaque black, then left, and top.
func (r rectangle) residuals(out, pixels []pixel, width int, guess func(left, top, topLeft pixel) pixel) (cost int) {
	for y := r.y0; y < r.y1; y++ {
		for x := r.x0; x < r.x1; x++ {
			i := y*width + x
			var expected pixel
			switch {
			case x > 0 && y > 0:
				expected = guess(pixels[i-1], pixels[i-width], pixels[i-width-1])
			case x > 0:
				expected = pixels[i-1]
			case y > 0:
				expected = pixels[i-width]
			}
			for c := range expected {
				d := pixels[i][c] - expected[c]
				out[i][c] = d
				cost += bits.Len8(min(d, -d))
			}
		}
	}
	return cost
}

// copy copies the rectangle between pictures of the same width.
func (r rectangle) copy(dst, src []pixel, width int) {
	for y := r.y0; y < r.y1; y++ {
		copy(dst[y*width+r.x0:y*width+r.x1], src[y*width+r.x0:y*width+r.x1])
	}
}
