// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// tiling cuts a picture into tiles that overlap by a quarter, and blends what becomes of
// them, as diffusers' AutoencoderKL does after enable_tiling. The picture differs a little
// from one that is not tiled, as no tile sees the others.
type tiling struct {
	// side of a tile that goes in, and stride from one to the next.
	side, stride int
	// blend is how far tiles that come out run into each other, and keep what is taken of
	// each: the part before the next one.
	blend, keep int
}

// overlap is 1 through diffusers' tile_overlap_factor.
const overlap = 4

// decodingTiles are tiles of latents, each of a picture of the size that the VAE was
// trained for.
func decodingTiles(c modelstore.VAEConfig) *tiling {
	latents, pixels := tileSides(c)
	return &tiling{side: latents, stride: latents - latents/overlap, blend: pixels / overlap, keep: pixels - pixels/overlap}
}

// encodingTiles are tiles of pixels, of the same size.
func encodingTiles(c modelstore.VAEConfig) *tiling {
	latents, pixels := tileSides(c)
	return &tiling{side: pixels, stride: pixels - pixels/overlap, blend: latents / overlap, keep: latents - latents/overlap}
}

// tileSides gives the side of a tile in latents and in pixels. It is rounded down to what
// has a quarter of whole latents: diffusers loses pixels between tiles of other sizes.
func tileSides(c modelstore.VAEConfig) (latents, pixels int) {
	latents = max(c.TrainedSide()/c.Scale()/overlap, 1) * overlap
	return latents, latents * c.Scale()
}

// run fills out with what network makes of the tiles of in.
func (t tiling) run(in, out *ort.Tensor, network func(tile *ort.Tensor) (*ort.Tensor, error)) error {
	var above []*ort.Tensor
	for y := 0; y*t.stride < int(in.Shape[2]); y++ {
		var row []*ort.Tensor
		for x := 0; x*t.stride < int(in.Shape[3]); x++ {
			tile, err := network(cut(in, y*t.stride, x*t.stride, t.side))
			if err != nil {
				return err
			}
			if y > 0 {
				blendDown(above[x], tile, t.blend)
			}
			if x > 0 {
				blendRight(row[x-1], tile, t.blend)
			}
			paste(out, tile, y*t.keep, x*t.keep, t.keep)
			row = append(row, tile)
		}
		above = row
	}
	return nil
}

// cut copies a square out of a tensor, or what is there of it.
func cut(from *ort.Tensor, top, left, side int) *ort.Tensor {
	height, width := min(side, int(from.Shape[2])-top), min(side, int(from.Shape[3])-left)
	tile := ort.NewFloat32(1, from.Shape[1], int64(height), int64(width))
	for c := range int(from.Shape[1]) {
		for y := range height {
			copy(line(tile, c, y), line(from, c, top+y)[left:])
		}
	}
	return tile
}

// paste copies a square out of the corner of a tile, or what is there of it.
func paste(into, tile *ort.Tensor, top, left, side int) {
	height, width := min(side, int(tile.Shape[2])), min(side, int(tile.Shape[3]))
	for c := range int(tile.Shape[1]) {
		for y := range height {
			copy(line(into, c, top+y)[left:], line(tile, c, y)[:width])
		}
	}
}

// blendDown fades from the lower end of the tile above into the upper end of a tile.
func blendDown(above, tile *ort.Tensor, extent int) {
	extent = min(extent, int(above.Shape[2]), int(tile.Shape[2]))
	for c := range int(tile.Shape[1]) {
		for y := range extent {
			from, to := line(above, c, int(above.Shape[2])-extent+y), line(tile, c, y)
			for x, v := range to {
				to[x] = fade(from[x], v, y, extent)
			}
		}
	}
}

// blendRight fades from the right end of the tile before into the left end of a tile.
func blendRight(before, tile *ort.Tensor, extent int) {
	extent = min(extent, int(before.Shape[3]), int(tile.Shape[3]))
	for c := range int(tile.Shape[1]) {
		for y := range int(tile.Shape[2]) {
			from, to := line(before, c, y), line(tile, c, y)
			from = from[len(from)-extent:]
			for x := range extent {
				to[x] = fade(from[x], to[x], x, extent)
			}
		}
	}
}

// fade is at step i of n on the way from a to b. Products are rounded before they are
// added, as in torch.
func fade(a, b float32, i, n int) float32 {
	share := float64(i) / float64(n)
	return float32(a*float32(1-share)) + float32(b*float32(share))
}

// line is one row of one channel.
func line(t *ort.Tensor, c, y int) []float32 {
	height, width := int(t.Shape[2]), int(t.Shape[3])
	start := (c*height + y) * width
	return t.F32[start : start+width]
}
