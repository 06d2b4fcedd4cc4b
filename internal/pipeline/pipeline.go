// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pipeline draws pictures with one model at a time: it loads lazily, swaps
// destructively, knows whether it is healthy, and takes a prompt through tokenize,
// encode, denoise and decode.
package pipeline

import (
	"context"
	"errors"
	"sync"

	"github.com/atelier-dev/atelier/internal/memory"
	"github.com/atelier-dev/atelier/internal/ort"
)

// Model says what to load. Equal values are the same model.
type Model struct {
	Name       string
	UID        string
	Generation int64
	// Dir is the absolute path of the model directory.
	Dir string
}

// Pipeline holds at most one model. IsHealthy, Health, Loaded, Device and
// ComputeEmbedding may be called at any time; Load, Unload and Generate wait for each
// other.
type Pipeline struct {
	runtime ort.Runtime
	// memory says how much of it there can be.
	memory func() memory.Limit
	// work holds a token while Load, Unload or Generate runs: a lock that can be waited
	// for until a context is done.
	work chan struct{}
	// drawn holds a token after pictures were drawn.
	drawn chan struct{}

	mu sync.Mutex
	// parts are what is loaded; guarded by mu.
	parts parts
}

// New makes an idle pipeline: nothing is loaded, no device is touched, and ONNX
// Runtime's library stays closed until the first Load.
func New(runtime ort.Runtime) *Pipeline {
	return &Pipeline{runtime: runtime, memory: systemMemory, work: make(chan struct{}, 1), drawn: make(chan struct{}, 1)}
}

// errNotLoaded is what Generate says without a model.
var errNotLoaded = errors.New("no model is loaded")

// IsHealthy is true when the pipeline is idle or wholly loaded with parts that belong
// together, and false for every other combination.
func (p *Pipeline) IsHealthy() bool { return p.Health().Healthy }

// Health says whether the pipeline is healthy, and why.
func (p *Pipeline) Health() Health {
	// Under the lock, so that nothing is closed while it is looked at.
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parts.health()
}

// Loaded gives the model that is loaded.
func (p *Pipeline) Loaded() (Model, bool) {
	model := p.current().model
	if model == nil {
		return Model{}, false
	}
	return *model, true
}

// Facts are what a model's files say of it.
type Facts struct {
	// Family is the kind of model, such as Stable Diffusion XL.
	Family string
	// Parameters is the number of weights in all networks.
	Parameters int64
}

// Facts says what kind of model is loaded; nothing when none is.
func (p *Pipeline) Facts() Facts {
	parts := p.current()
	if parts.model == nil {
		return Facts{}
	}
	return Facts{Family: family(parts.config, parts.extras), Parameters: parts.parameters}
}

// Device says what the pipeline computes on, and false before the first Load.
func (p *Pipeline) Device() (ort.Device, bool) { return p.runtime.Device() }

// Load makes model the loaded one. It returns at once when it is already, and healthy.
// Otherwise what was loaded is gone before the first file of the new model is read, and
// a load that fails leaves the pipeline idle. The error is a *ModelError where the
// model's files are at fault, a *TooLargeError where they are more than there can be memory,
// and ctx's when ctx is done.
func (p *Pipeline) Load(ctx context.Context, model Model) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	defer p.end()
	if loaded, ok := p.Loaded(); ok && loaded == model && p.IsHealthy() {
		return nil
	}
	if err := p.unload(); err != nil {
		return err
	}
	loaded, err := load(ctx, p.runtime, model, p.memory())
	p.set(loaded)
	return err
}

// Unload gives everything back. A part that can't be closed stays, and the pipeline is
// unhealthy until closing it works.
func (p *Pipeline) Unload() error {
	if err := p.begin(context.Background()); err != nil {
		return err
	}
	defer p.end()
	return p.unload()
}

// unload closes what is loaded. The caller has the token.
func (p *Pipeline) unload() error {
	loaded := p.current()
	p.set(parts{}) // First, so that no one looks at parts that are being closed.
	left, err := loaded.close()
	p.set(left)
	return err
}

// begin waits for the token.
func (p *Pipeline) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.work <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end gives the token back.
func (p *Pipeline) end() { <-p.work }

func (p *Pipeline) current() parts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parts
}

func (p *Pipeline) set(loaded parts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parts = loaded
}
