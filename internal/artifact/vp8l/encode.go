// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vp8l encodes pictures without loss as WebP's VP8L bitstream has it (RFC 9649,
// section 3). Of what the format offers it uses what pays for pictures without transparency:
// green subtracted from red and blue, a predictor a tile, back references and one set of
// prefix codes.
package vp8l

import (
	"fmt"
	"image"
)

// maxSide is the largest width or height of the format.
const maxSide = 1 << 14

// Numbers of the transforms in the bitstream.
const (
	transformPredictor     = 0
	transformSubtractGreen = 2
)

// Encode gives the bitstream of an opaque picture; its alpha channel is not looked at. The
// same picture gives the same bytes. The error is about the size.
func Encode(picture *image.NRGBA) ([]byte, error) {
	width, height := picture.Rect.Dx(), picture.Rect.Dy()
	if width < 1 || height < 1 || width > maxSide || height > maxSide {
		return nil, fmt.Errorf("%dx%d pixels: must be from 1 to %d each way", width, height, maxSide)
	}
	w := &bitWriter{}
	w.write(0x2f, 8) // Signature.
	w.write(uint32(width-1), 14)
	w.write(uint32(height-1), 14)
	w.write(0, 1) // No alpha is used.
	w.write(0, 3) // Version.

	pixels := subtractGreen(picture)
	w.write(1, 1)
	w.write(transformSubtractGreen, 2)

	modes, residuals := predict(pixels, width, height)
	w.write(1, 1)
	w.write(transformPredictor, 2)
	w.write(tileBits-2, 3)
	writePixels(w, modes, tiles(width), false)

	w.write(0, 1) // No more transforms.
	writePixels(w, residuals, width, true)
	return w.bytes(), nil
}

// pixel is red, green and blue. Alpha is the same everywhere, and coded so.
type pixel [3]byte

const (
	red = iota
	green
	blue
)

// subtractGreen takes each pixel's green from its red and blue, which follow it mostly.
func subtractGreen(picture *image.NRGBA) []pixel {
	width, height := picture.Rect.Dx(), picture.Rect.Dy()
	pixels := make([]pixel, 0, width*height)
	for y := range height {
		row := picture.Pix[y*picture.Stride:][:4*width]
		for x := range width {
			r, g, b := row[4*x], row[4*x+1], row[4*x+2]
			pixels = append(pixels, pixel{r - g, g, b - g})
		}
	}
	return pixels
}
