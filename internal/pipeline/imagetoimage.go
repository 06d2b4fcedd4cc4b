// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/picture"
)

// resolveImage checks whether the model can begin with the picture, and fills in strength
// and size: without one asked for, that of the picture, rounded down as diffusers'
// VaeImageProcessor does, but to what the exported network can draw.
func (p parts) resolveImage(r *Request) error {
	if r.Image == nil {
		return nil
	}
	size := r.Image.Bounds().Size()
	value := fmt.Sprintf("%dx%d", size.X, size.Y)
	switch least := p.config.SizeMultiple(); {
	case p.vaeEncoder == nil:
		return &RequestError{"image", value, "the model has no VAE encoder, which beginning with a picture takes; export vae_encoder too"}
	case size.X < least || size.Y < least:
		return &RequestError{"image", value, fmt.Sprintf("must have at least %dx%d pixels for this model", least, least)}
	case size.X > maxImagePixels/size.Y:
		return &RequestError{"image", value, fmt.Sprintf("must have at most %d pixels", maxImagePixels)}
	default:
		if r.Width == 0 {
			r.Width = size.X - size.X%least
		}
		if r.Height == 0 {
			r.Height = size.Y - size.Y%least
		}
	}
	if r.Strength == 0 {
		r.Strength = DefaultStrength
	}
	return nil
}

// maxImagePixels bounds pictures to begin with, as Pillow does against files that are small
// and pictures that are not (MAX_IMAGE_PIXELS).
const maxImagePixels = 89478485

// firstTimestep is the index of the first timestep that is taken: with a picture to begin
// with, the share strength of the steps is left, in whole steps of so many timesteps
// (get_timesteps of diffusers' img2img pipelines).
func firstTimestep(r Request, order int) (int, error) {
	if r.Image == nil {
		return 0, nil
	}
	left := min(int(float64(r.Steps)*r.Strength), r.Steps)
	if left < 1 {
		return 0, &RequestError{"strength", r.Strength, fmt.Sprintf("leaves none of %d steps; must be at least 1/%d, or with more steps", r.Steps, r.Steps)}
	}
	return (r.Steps - left) * order, nil
}

// original is the picture to begin with, as the VAE sees it.
type original struct {
	// mean and deviation of each latent, [channels, height, width]. deviation is nil
	// where the graph drew a sample by itself, which then is the mean.
	mean, deviation []float32
	scale           latentScale
	// dark says that the picture is wholly black.
	dark bool
}

// encodeImage takes the picture to begin with through the VAE; nil without one.
func (p parts) encodeImage(ctx context.Context, plan plan) (*original, error) {
	if plan.Image == nil {
		return nil, nil
	}
	pixels, err := prepareImage(ctx, plan)
	if err != nil {
		return nil, err
	}
	vae := vaeNetwork{session: p.vaeEncoder, part: modelstore.VAEEncoder, input: inputPicture, output: outputParameters}
	channels := 2 * plan.latent[0]
	if _, ok := p.vaeEncoder.Graph().Output(outputLatents); ok {
		vae.output, channels = outputLatents, plan.latent[0]
	}
	if plan.tiled {
		vae.tiles = encodingTiles(p.config.VAE)
	}
	latents := ort.NewFloat32(1, int64(channels), int64(plan.latent[1]), int64(plan.latent[2]))
	if err := vae.run(ctx, ort.Float32(planes(pixels), 1, colourChannels, int64(plan.Height), int64(plan.Width)), latents); err != nil {
		return nil, err
	}
	n := plan.latents()
	return &original{
		mean:      latents.F32[:n],
		deviation: deviations(latents.F32[n:]),
		scale:     newLatentScale(p.config.VAE),
		dark:      !slices.ContainsFunc(pixels.Pix, func(v uint8) bool { return v != 0 }),
	}, nil
}

// prepareImage brings the picture to the size asked for.
func prepareImage(ctx context.Context, plan plan) (picture.RGB, error) {
	pixels, err := picture.Convert(ctx, plan.Image)
	if err != nil {
		return picture.RGB{}, err
	}
	return pixels.Resize(ctx, plan.Width, plan.Height)
}

// planes gives the colours as numbers from -1 to 1, [3, height, width].
func planes(p picture.RGB) []float32 {
	n := p.Width * p.Height
	out := make([]float32, colourChannels*n)
	for i := range n {
		for c := range colourChannels {
			out[c*n+i] = float32(2*(float32(p.Pix[colourChannels*i+c])/math.MaxUint8)) - 1
		}
	}
	return out
}

// deviations turns logarithms of variances, in place, into standard deviations, as
// diffusers' DiagonalGaussianDistribution does; nil where there are none.
func deviations(logarithms []float32) []float32 {
	if len(logarithms) == 0 {
		return nil
	}
	for i, v := range logarithms {
		logarithms[i] = float32(math.Exp(float64(0.5 * min(max(v, -30), 20))))
	}
	return logarithms
}

// black says that the picture to begin with is there, and wholly black.
func (o *original) black() bool { return o != nil && o.dark }

// sample writes latents of the picture to dst. It draws them, each picture anew, from
// noise, by way of random. Where the graph drew them itself, as the oldest exports do, they
// don't depend on the seed, and all pictures of a request begin with the same.
func (o *original) sample(dst, random []float32, noise diffusion.Noise) {
	copy(dst, o.mean)
	if o.deviation != nil {
		noise.Normal(random)
		for i, deviation := range o.deviation {
			dst[i] += float32(deviation * random[i])
		}
	}
	o.scale.fromVAE(dst)
}
