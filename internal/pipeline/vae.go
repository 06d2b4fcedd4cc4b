// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"

	"github.com/atelier-dev/atelier/internal/ort"
)

// vaeNetwork is one half of the VAE: latents to pixels, or pixels to what describes
// latents.
type vaeNetwork struct {
	session             ort.Session
	part, input, output string
	// tiles is nil where the network takes the whole picture at once.
	tiles *tiling
}

// run computes out from in, both [1, channels, height, width].
func (n vaeNetwork) run(ctx context.Context, in, out *ort.Tensor) error {
	if n.tiles == nil {
		if err := n.session.Run(ctx, map[string]*ort.Tensor{n.input: in}, map[string]*ort.Tensor{n.output: out}); err != nil {
			return err
		}
		return checkOutput(n.part, n.output, out.F32)
	}
	whole := n
	whole.tiles = nil
	return n.tiles.run(in, out, func(tile *ort.Tensor) (*ort.Tensor, error) {
		height, width := tile.Shape[2]*out.Shape[2]/in.Shape[2], tile.Shape[3]*out.Shape[3]/in.Shape[3]
		done := ort.NewFloat32(1, out.Shape[1], height, width)
		return done, whole.run(ctx, tile, done)
	})
}

// mostUntiledPixels is the largest picture that the VAE sees as a whole. Decoding takes
// memory in proportion to the pixels, and its attention to their square: measured with a
// decoder of Stable Diffusion 1's size in float32 on ONNX Runtime's CPU provider, 1.0 GiB
// for 512x512 and 3.3 GiB for 1024x1024 beside the weights. At 2048x2048, two matrices of
// the attention alone would take 32 GiB. diffusers never tiles unless it is told to, so
// that the sizes that models are trained for must stay below.
const mostUntiledPixels = 1536 * 1024
