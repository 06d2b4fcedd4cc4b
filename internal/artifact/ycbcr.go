// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"image"
	"math"
)

// colours gives the colours of a JPEG's picture as libjpeg computes them, and of a lossy
// WebP's as libwebp does, and so as Pillow reads them. Package image repeats the colour
// samples that a file has for two or four pixels, where those libraries go smoothly from one
// to the next, and takes WebP's colours, of 16 to 235, for JPEG's, of 0 to 255. Pictures of
// other kinds and ratios stay as they are. Transparency is dropped, as Pillow's convert("RGB")
// drops it.
func colours(picture image.Image, format string) image.Image {
	var source *image.YCbCr
	switch p := picture.(type) {
	case *image.YCbCr:
		source = p
	case *image.NYCbCrA:
		source = &p.YCbCr
	default:
		return picture
	}
	vertical := source.SubsampleRatio == image.YCbCrSubsampleRatio420
	if !vertical && source.SubsampleRatio != image.YCbCrSubsampleRatio422 && source.SubsampleRatio != image.YCbCrSubsampleRatio444 {
		return picture
	}
	put := putJPEG
	if format == "webp" {
		put = putWebP
	}
	size := source.Rect.Size()
	out := image.NewNRGBA(image.Rectangle{Max: size})
	cb, cr := make([]int, size.X), make([]int, size.X)
	for y := range size.Y {
		if source.SubsampleRatio == image.YCbCrSubsampleRatio444 {
			widen(cb, source.Cb[y*source.CStride:])
			widen(cr, source.Cr[y*source.CStride:])
		} else {
			near, far := rows(y, size.Y, vertical)
			smooth(cb, source.Cb[near*source.CStride:], source.Cb[far*source.CStride:], vertical)
			smooth(cr, source.Cr[near*source.CStride:], source.Cr[far*source.CStride:], vertical)
		}
		luma, pix := source.Y[y*source.YStride:], out.Pix[y*out.Stride:]
		for x := range size.X {
			put(pix[4*x:4*x+4], int(luma[x]), cb[x], cr[x])
		}
	}
	return out
}

// widen takes a row that has a sample for each pixel.
func widen(out []int, row []uint8) {
	for x := range out {
		out[x] = int(row[x])
	}
}

// rows gives the row of colour samples that pixels of row y lie in, and the one on their other
// side; the same where there is none.
func rows(y, height int, vertical bool) (near, far int) {
	if !vertical {
		return y, y
	}
	near = y / 2
	far = near - 1 + y%2*2
	return near, min(max(far, 0), (height-1)/2)
}

// smooth doubles a row of colour samples by the triangle filter of libjpeg's
// h2v2_fancy_upsample and h2v1_fancy_upsample: three parts of the nearer sample and one of
// the farther, both ways, rounded up and down in turns.
func smooth(out []int, near, far []uint8, vertical bool) {
	samples := (len(out) + 1) / 2
	sum := func(i int) int { return int(near[i]) }
	shift, even, odd := 2, 1, 2
	if vertical {
		sum = func(i int) int { return 3*int(near[i]) + int(far[i]) }
		shift, even, odd = 4, 8, 7
	}
	for x := range out {
		i := x / 2
		// At the ends there is no farther sample, and the nearer one counts in full.
		other, round := max(i-1, 0), even
		if x%2 == 1 {
			other, round = min(i+1, samples-1), odd
		}
		out[x] = (3*sum(i) + sum(other) + round) >> shift
	}
}

// putJPEG writes a pixel by JFIF's formula, in libjpeg's fixed point of 16 bits.
func putJPEG(pixel []uint8, y, cb, cr int) {
	const half = 1 << 15
	cb, cr = cb-128, cr-128
	pixel[0] = clamp(y + (91881*cr+half)>>16)
	pixel[1] = clamp(y + (-22554*cb-46802*cr+half)>>16)
	pixel[2] = clamp(y + (116130*cb+half)>>16)
	pixel[3] = math.MaxUint8
}

// putWebP writes a pixel by the formula of BT.601, in libwebp's fixed point of 14 bits, of
// which it drops 8 in each product (VP8YUVToR and so on in its yuv.h).
func putWebP(pixel []uint8, y, u, v int) {
	y = y * 19077 >> 8
	pixel[0] = clamp((y + v*26149>>8 - 14234) >> 6)
	pixel[1] = clamp((y - u*6419>>8 - v*13320>>8 + 8708) >> 6)
	pixel[2] = clamp((y + u*33050>>8 - 17685) >> 6)
	pixel[3] = math.MaxUint8
}

func clamp(v int) uint8 { return uint8(min(max(v, 0), math.MaxUint8)) }
