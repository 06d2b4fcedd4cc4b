// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"image"
	"math"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// decoder turns latents into pictures. Its tensors are allocated once.
type decoder struct {
	vae             vaeNetwork
	scale           latentScale
	latents, pixels *ort.Tensor
}

// newDecoder allocates what decoding one picture takes.
func (p parts) newDecoder(plan plan) *decoder {
	d := &decoder{
		vae:     vaeNetwork{session: p.vaeDecoder, part: modelstore.VAEDecoder, input: inputLatents, output: outputPicture},
		scale:   newLatentScale(p.config.VAE),
		latents: ort.NewFloat32(1, int64(plan.latent[0]), int64(plan.latent[1]), int64(plan.latent[2])),
		pixels:  ort.NewFloat32(1, colourChannels, int64(plan.Height), int64(plan.Width)),
	}
	if plan.tiled {
		d.vae.tiles = decodingTiles(p.config.VAE)
	}
	return d
}

// decode turns the latents of one picture, [channels, height, width], into the picture.
func (d *decoder) decode(ctx context.Context, latents []float32) (*image.NRGBA, error) {
	d.scale.toVAE(d.latents.F32, latents)
	if err := d.vae.run(ctx, d.latents, d.pixels); err != nil {
		return nil, err
	}
	return toImage(d.pixels.F32, int(d.pixels.Shape[3]), int(d.pixels.Shape[2])), nil
}

// toImage makes a picture of colour planes, [3, height, width], with values from -1 to 1.
func toImage(planes []float32, width, height int) *image.NRGBA {
	picture := image.NewNRGBA(image.Rect(0, 0, width, height))
	n := width * height
	for i := range n {
		pixel := picture.Pix[4*i : 4*i+4]
		for c := range colourChannels {
			pixel[c] = toByte(planes[c*n+i])
		}
		pixel[3] = math.MaxUint8
	}
	return picture
}

// toByte maps -1..1 to 0..255, clamped and rounded half to even, as diffusers does.
func toByte(v float32) uint8 {
	v = min(max(float32(v*0.5)+0.5, 0), 1)
	return uint8(math.RoundToEven(float64(v * math.MaxUint8)))
}

// errBlack refuses pictures of which every value is 0. Numbers that overflow turn into
// such pictures where a graph clamps them; what a prompt asks for, be it the darkest
// night, has some value above 0 in a picture of any real size. It is final: the same
// request gives the same picture.
var errBlack = &ModelError{
	File:  modelstore.GraphFile(modelstore.VAEDecoder),
	Field: "output " + outputPicture,
	Message: "is a wholly black picture, as of numbers that overflow: a VAE in float16 gives such, that of Stable Diffusion XL above all; " +
		"export vae_decoder in float32, or a VAE that was mended for float16",
}

// isBlack says whether all colours of opaque pixels are 0.
func isBlack(pix []uint8) bool {
	for i, v := range pix {
		if v != 0 && i%4 != 3 {
			return false
		}
	}
	return true
}
