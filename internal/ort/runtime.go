// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ort runs ONNX graphs through ONNX Runtime behind a small interface: sessions
// with named, typed inputs and outputs, over tensors in Go memory.
package ort

import "context"

// Runtime opens sessions. The first Open loads the shared library and chooses the
// device; making a Runtime does neither.
type Runtime interface {
	// Open loads the graph in the file at path. Only the outputs named are computed;
	// with none, all are.
	Open(path string, outputs ...string) (Session, error)
	// Device says what sessions compute on, and false before the first Open.
	Device() (Device, bool)
}

// Session is one loaded graph. Run may be called by one goroutine at a time; the other
// methods by any.
type Session interface {
	// Graph describes the inputs and outputs.
	Graph() Graph
	// Run computes the outputs from the inputs. Both are given by name; tensors of
	// outputs are allocated by the caller and filled. It returns ctx's error soon
	// after ctx is done, also in the middle of the graph.
	Run(ctx context.Context, inputs, outputs map[string]*Tensor) error
	// Err says why the session can't be used any more; nil while it can.
	Err() error
	// Close gives the memory back. Closing twice is harmless.
	Close() error
}

// DeviceType is what a session computes on.
type DeviceType string

// The devices.
const (
	CUDA DeviceType = "CUDA"
	CPU  DeviceType = "CPU"
)

// Device says what sessions compute on, and why.
type Device struct {
	Type    DeviceType
	Message string
}

// Options of New. The zero value is what the runner uses.
type Options struct {
	// Library is the path of ONNX Runtime's shared library. Empty means to look for it.
	Library string
	// Threads that compute one graph. 0 is as many as the process may use CPUs.
	Threads int
	// Device to use. Empty is CUDA where it works, else CPU.
	Device DeviceType
}

// New makes a Runtime over ONNX Runtime's shared library.
func New(options Options) Runtime { return nil }
