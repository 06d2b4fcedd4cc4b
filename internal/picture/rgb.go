// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package picture prepares pictures for networks as the Python library Pillow does, to
// the last bit.
package picture

import (
	"context"
	"image"
	"image/color"
)

// channels of a picture: red, green and blue.
const channels = 3

// RGB is a picture without transparency.
type RGB struct {
	Width, Height int
	// Pix has red, green and blue of each pixel, row after row.
	Pix []uint8
}

// New makes a black picture.
func New(width, height int) RGB {
	return RGB{Width: width, Height: height, Pix: make([]uint8, channels*width*height)}
}

// Convert takes the colours of a picture as Pillow's convert("RGB") does: transparency is
// dropped, and what was transparent has the colour that the file gives it. Of colours
// with 16 bits the upper 8 are kept. It gives ctx's error soon after ctx is done.
func Convert(ctx context.Context, source image.Image) (RGB, error) {
	bounds, at := source.Bounds(), colours(source)
	out := New(bounds.Dx(), bounds.Dy())
	for y := range out.Height {
		if err := ctx.Err(); err != nil {
			return RGB{}, err
		}
		row := out.row(y)
		for x := range out.Width {
			row[channels*x], row[channels*x+1], row[channels*x+2] = at(bounds.Min.X+x, bounds.Min.Y+y)
		}
	}
	return out, nil
}

// colours gives what reads the colour of a pixel. Where nothing is transparent it can do
// without an allocation for each, as the standard library gives those colours as numbers
// alone.
func colours(source image.Image) func(x, y int) (red, green, blue uint8) {
	opaque, ok := source.(interface{ Opaque() bool })
	if deep, isDeep := source.(image.RGBA64Image); ok && isDeep && opaque.Opaque() {
		return func(x, y int) (red, green, blue uint8) {
			c := deep.RGBA64At(x, y)
			return uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8)
		}
	}
	return func(x, y int) (red, green, blue uint8) {
		c := straight(source.At(x, y))
		return c.R, c.G, c.B
	}
}

// straight gives a colour that is not multiplied with its transparency. The standard
// library's conversion would lose the colour of what is wholly transparent.
func straight(c color.Color) color.NRGBA {
	if c, ok := c.(color.NRGBA64); ok {
		return color.NRGBA{R: uint8(c.R >> 8), G: uint8(c.G >> 8), B: uint8(c.B >> 8), A: uint8(c.A >> 8)}
	}
	return color.NRGBAModel.Convert(c).(color.NRGBA)
}
