// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"fmt"
	"image"
	"sync"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// fakePipeline keeps the contract of *pipeline.Pipeline without drawing anything, and
// fails as it is told to.
type fakePipeline struct {
	// onLoad is asked before a load that is not a no-op; its error fails the load.
	onLoad func(ctx context.Context, model pipeline.Model) error
	// onGenerate is asked before a generation; its error fails the generation.
	onGenerate func(ctx context.Context, request pipeline.Request) error
	// onStep is asked before each step.
	onStep func(ctx context.Context, done int) error
	// extraCalls are how many more calls of the network a picture takes than steps.
	extraCalls int
	// warnings come with the pictures.
	warnings []string

	mu     sync.Mutex
	loaded *pipeline.Model
	device bool
	// drawn is true once a generation came to its end.
	drawn bool
	// sick are the outcomes of the next health checks.
	sick []pipeline.Health
	// calls in the order in which they were made, with the name of the model.
	calls []string
}

var _ Pipeline = (*fakePipeline)(nil)

func (p *fakePipeline) note(format string, args ...any) {
	p.calls = append(p.calls, fmt.Sprintf(format, args...))
}

// history gives the calls so far.
func (p *fakePipeline) history() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.calls...)
}

// done reports whether a generation came to its end.
func (p *fakePipeline) done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drawn
}

// corrupt makes the next checks fail.
func (p *fakePipeline) corrupt(checks ...pipeline.Health) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sick = checks
}

func (p *fakePipeline) Health() pipeline.Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.sick) > 0:
		health := p.sick[0]
		p.sick = p.sick[1:]
		return health
	case p.loaded == nil:
		return pipeline.Health{Healthy: true, Reason: v1alpha1.ReasonIdle, Message: "nothing is loaded"}
	default:
		return pipeline.Health{Healthy: true, Reason: v1alpha1.ReasonLoaded, Message: "everything is loaded"}
	}
}

func (p *fakePipeline) Loaded() (pipeline.Model, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded == nil {
		return pipeline.Model{}, false
	}
	return *p.loaded, true
}

func (p *fakePipeline) Facts() pipeline.Facts {
	return pipeline.Facts{Family: "Stable Diffusion", Parameters: 7}
}

func (p *fakePipeline) Device() (ort.Device, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return ort.Device{Type: ort.CPU, Message: "a fake"}, p.device
}

func (p *fakePipeline) Load(ctx context.Context, model pipeline.Model) error {
	p.mu.Lock()
	if p.loaded != nil && *p.loaded == model {
		p.mu.Unlock()
		return nil
	}
	p.note("load %s", model.Name)
	p.loaded, p.device = nil, true
	p.mu.Unlock()
	if p.onLoad != nil {
		if err := p.onLoad(ctx, model); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loaded = &model
	return ctx.Err()
}

func (p *fakePipeline) Unload() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note("unload")
	p.loaded = nil
	return nil
}

func (p *fakePipeline) ComputeEmbedding(context.Context, string) (*ort.Tensor, []string, error) {
	return ort.NewFloat32(1), []string{v1alpha1.PlaceholderEmbeddingWarning}, nil
}

func (p *fakePipeline) Generate(ctx context.Context, request pipeline.Request, observe func(done, total int)) (pipeline.Result, error) {
	p.mu.Lock()
	p.note("generate %s", p.loaded.Name)
	p.mu.Unlock()
	if p.onGenerate != nil {
		if err := p.onGenerate(ctx, request); err != nil {
			return pipeline.Result{}, err
		}
	}
	total := (request.Steps + p.extraCalls) * request.Images
	observe(0, total)
	for done := range total {
		if p.onStep != nil {
			if err := p.onStep(ctx, done); err != nil {
				return pipeline.Result{}, err
			}
		}
		if err := ctx.Err(); err != nil {
			return pipeline.Result{}, err
		}
		observe(done+1, total)
	}
	p.mu.Lock()
	p.drawn = true
	p.mu.Unlock()
	pictures := make([]pipeline.Picture, request.Images)
	for i := range pictures {
		picture := image.NewNRGBA(image.Rect(0, 0, 8, 4))
		picture.Pix[0] = byte(request.Seed) + byte(i)
		pictures[i] = pipeline.Picture{Index: i, Seed: request.Seed + int64(i), Image: picture}
	}
	return pipeline.Result{Pictures: pictures, Warnings: p.warnings}, nil
}

// gate makes steps wait until they are let through, or until ctx is done.
type gate chan struct{}

func (g gate) wait(ctx context.Context, _ int) error {
	select {
	case <-g:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
