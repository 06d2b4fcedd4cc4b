// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"fmt"

	"github.com/atelier-dev/atelier/internal/diffusion"
)

// Generate draws the pictures of a request with the loaded model. observe, unless nil,
// is called before the first call of the denoising network and after every one with how
// many are done and how many there are, over all pictures. The error is a *RequestError
// where the model can't do what a field asks for, and ctx's soon after ctx is done, also in
// the middle of a step.
func (p *Pipeline) Generate(ctx context.Context, request Request, observe func(done, total int)) (Result, error) {
	if err := p.begin(ctx); err != nil {
		return Result{}, err
	}
	defer p.noteDrawn()
	defer p.end()
	loaded := p.current()
	if loaded.model == nil {
		return Result{}, errNotLoaded
	}
	if health := loaded.health(); !health.Healthy {
		return Result{}, fmt.Errorf("the pipeline is not healthy: %s", health.Message)
	}
	plan, err := loaded.plan(request)
	if err != nil {
		return Result{}, err
	}
	if observe != nil {
		observe(0, plan.calls*plan.Images)
	}
	pictures, err := loaded.generate(ctx, plan, observe)
	if err != nil {
		return Result{}, err
	}
	return Result{Pictures: pictures, Warnings: plan.warnings}, nil
}

// generate draws one picture after the other. Each has a seed, a scheduler and noise of
// its own, so that none depends on how many are drawn together.
func (p parts) generate(ctx context.Context, plan plan, observe func(done, total int)) ([]Picture, error) {
	conditioned, err := p.encode(ctx, plan)
	if err != nil {
		return nil, err
	}
	begun, err := p.encodeImage(ctx, plan)
	if err != nil {
		return nil, fmt.Errorf("encoding the picture to begin with: %w", err)
	}
	network := newDenoiser(p.unet, plan, conditioned, begun)
	canvas := p.newDecoder(plan)
	preview := p.newPreviewer(plan)
	done := 0
	pictures := make([]Picture, 0, plan.Images)
	for k := range plan.Images {
		scheduler, err := diffusion.New(plan.Scheduler, *p.scheduler, plan.run())
		if err != nil {
			return nil, schedulerError(err)
		}
		noise, err := plan.noise(k)
		if err != nil {
			return nil, err
		}
		step := func(i int, latents []float32) {
			done++
			if observe != nil {
				observe(done, plan.calls*plan.Images)
			}
			if preview != nil {
				plan.Preview(done, preview.draw(scheduler, i, latents))
			}
		}
		latents, err := network.denoise(ctx, scheduler, noise, step)
		if err != nil {
			return nil, err
		}
		picture, err := canvas.decode(ctx, latents)
		if err != nil {
			return nil, fmt.Errorf("decoding: %w", err)
		}
		if isBlack(picture.Pix) && !begun.black() {
			return nil, errBlack
		}
		pictures = append(pictures, Picture{Index: k, Seed: plan.Seed + int64(k), Image: picture, Parameters: plan.parameters(k, p.model.Name)})
	}
	return pictures, nil
}
