// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pipeline draws pictures with one model at a time: it loads lazily, swaps
// destructively, knows whether it is healthy, and takes a prompt through
// tokenize, encode, denoise and decode.
package pipeline

import (
	"context"
	"errors"

	"github.com/atelier-dev/atelier/api/v1alpha1"
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

// Pipeline holds at most one model. IsHealthy, Health, Loaded and Device may be called
// at any time; Load, Unload and Generate wait for each other.
type Pipeline struct {
	runtime ort.Runtime
}

// New makes an idle pipeline: nothing is loaded, no device is touched, and ONNX
// Runtime's library stays closed until the first Load.
func New(runtime ort.Runtime) *Pipeline { return &Pipeline{runtime: runtime} }

// Health is the outcome of a health check.
type Health struct {
	Healthy bool
	// Reason is v1alpha1's ReasonIdle, ReasonLoaded, ReasonPartiallyLoaded or
	// ReasonCorrupted.
	Reason string
	// Message says what was found.
	Message string
}

// IsHealthy is true when the pipeline is idle or wholly loaded with parts that belong
// together, and false for every other combination.
func (p *Pipeline) IsHealthy() bool { return p.Health().Healthy }

// Health says whether the pipeline is healthy, and why.
func (p *Pipeline) Health() Health {
	return Health{Healthy: true, Reason: v1alpha1.ReasonIdle, Message: "nothing is loaded"}
}

// Loaded gives the model that is loaded.
func (p *Pipeline) Loaded() (Model, bool) { return Model{}, false }

// Device says what the pipeline computes on, and false before the first Load.
func (p *Pipeline) Device() (ort.Device, bool) { return p.runtime.Device() }

// Load makes model the loaded one. It returns at once when it already is. Otherwise
// what was loaded is gone before the first file of the new model is read, and a load
// that fails leaves the pipeline idle. The error is a *ModelError when the model's files
// are at fault and ctx's when ctx is done.
func (p *Pipeline) Load(ctx context.Context, model Model) error {
	return errors.New("not loadable")
}

// Unload gives everything back. An error means that something could not be closed; the
// pipeline forgets it all the same.
func (p *Pipeline) Unload() error { return nil }

// Generate draws the pictures of a request with the loaded model. observe, unless nil,
// is called after every call of the denoising network with how many are done and how
// many there are, over all pictures. The error is a *RequestError when the model can't
// do what a field asks for, and ctx's soon after ctx is done, also in the middle of a
// step.
func (p *Pipeline) Generate(ctx context.Context, request Request, observe func(done, total int)) ([]Picture, error) {
	return nil, errors.New("no model is loaded")
}
