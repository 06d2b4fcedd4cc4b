// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ort runs ONNX graphs through ONNX Runtime behind a small interface: sessions
// with named inputs and outputs over tensors in Go memory.
package ort

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"
)

// Runtime opens sessions. The first Open loads the shared library and chooses the
// device; making a Runtime does neither.
type Runtime interface {
	// Open loads the graph in the file at path, which ReadGraph has read. Only the
	// outputs named are computed; with none, all are.
	Open(path string, graph Graph, outputs ...string) (Session, error)
	// Device says what sessions compute on, and false before it was chosen.
	Device() (Device, bool)
	// ChooseDevice opens the library and chooses what sessions compute on, as the first
	// Open does otherwise.
	ChooseDevice() (Device, error)
}

// Session is one loaded graph. Run may be called by one goroutine at a time; the other
// methods by any.
type Session interface {
	// Graph describes the inputs, and those outputs that are computed.
	Graph() Graph
	// Run computes the outputs from the inputs. Both are given by name; the tensors
	// of outputs are allocated by the caller, of the shape that the graph gives for
	// these inputs, and filled. Elements are converted from and to the types that the
	// graph declares. It returns ctx's error soon after ctx is done, also in the
	// middle of the graph.
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
	// Library is the path of ONNX Runtime's shared library. Empty means to look for it:
	// what ONNXRUNTIME_LIB names, beside the executable, in ../lib, in the module's bin.
	Library string
	// Threads that compute one graph. 0 is as many as the process may use CPUs.
	Threads int
	// Device to use. Empty is CUDA where it works, else the CPU.
	Device DeviceType
	// Graphs keeps prepared graphs. Without it none are made.
	Graphs GraphStore
	// PrepareReloaded has a graph prepared only once it was loaded before without being
	// prepared, by any process with the same Graphs: a process that loads one model, once,
	// would spend time and disk on what nobody uses.
	PrepareReloaded bool
	// Log is told what is wrong with prepared graphs; nil is nobody.
	Log *slog.Logger
}

// New makes a Runtime over ONNX Runtime's shared library.
func New(options Options) Runtime { return &onnxRuntime{options: options} }

// onnxRuntime is the Runtime over the real library.
type onnxRuntime struct {
	options Options
	pending pending

	mu     sync.Mutex
	device Device
	chosen bool
}

// Device says what sessions compute on, and false before it was chosen.
func (r *onnxRuntime) Device() (Device, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.device, r.chosen
}

// ChooseDevice opens the library and chooses the device, the first time it is called.
func (r *onnxRuntime) ChooseDevice() (Device, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.chosen {
		return r.device, nil
	}
	path, err := openLibrary(r.options.Library)
	if err != nil {
		return Device{}, err
	}
	r.device, err = chooseDevice(path, r.options.Device)
	r.chosen = err == nil
	return r.device, err
}

// Open loads a graph.
func (r *onnxRuntime) Open(path string, graph Graph, outputs ...string) (Session, error) {
	var err error
	if graph.Outputs, err = choose(graph.Outputs, outputs); err != nil {
		return nil, &GraphError{Err: err}
	}
	device, err := r.ChooseDevice()
	if err != nil {
		return nil, err
	}
	threads := r.options.Threads
	if threads == 0 {
		// Go sets this from the CPUs the process may run on and its cgroup's quota.
		threads = runtime.GOMAXPROCS(0)
	}
	if r.options.Graphs != nil && device.Type == CPU {
		if session := r.openPrepared(path, graph, threads); session != nil {
			return session, nil
		}
	}
	session, err := newSession(path, graph, sessionConfig{device: device.Type, threads: threads, level: optimization})
	if err != nil {
		return nil, err
	}
	return session, nil
}

// newSession has ONNX Runtime load a graph.
func newSession(path string, graph Graph, config sessionConfig) (*onnxSession, error) {
	options, err := sessionOptions(config)
	if err != nil {
		return nil, err
	}
	defer release(options)
	session, err := onnx.NewDynamicAdvancedSession(path, names(graph.Inputs), names(graph.Outputs), options)
	if err != nil {
		return nil, loadError(err)
	}
	trimMemory() // Building a session takes several times what it keeps.
	return &onnxSession{graph: graph, session: session}, nil
}

// GraphError says that a graph's file is at fault, so that opening it again can't help.
type GraphError struct{ Err error }

// Error gives the cause.
func (e *GraphError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *GraphError) Unwrap() error { return e.Err }

// loadError tells apart what is the file's fault and what is the machine's. ONNX Runtime
// says which only in words.
func loadError(err error) error {
	err = fmt.Errorf("ONNX Runtime can't load it: %w", err)
	for _, sign := range []string{"alloc", "memory", "CUDA", "CUDNN", "CUBLAS"} {
		if strings.Contains(err.Error(), sign) {
			return err
		}
	}
	return &GraphError{Err: err}
}

// choose keeps the outputs named, in their order, or all where none is.
func choose(outputs []Value, wanted []string) ([]Value, error) {
	if len(wanted) == 0 {
		return outputs, nil
	}
	chosen := make([]Value, 0, len(wanted))
	for _, name := range wanted {
		v, ok := find(outputs, name)
		if !ok {
			return nil, fmt.Errorf("there is no output %q; there are %q", name, names(outputs))
		}
		chosen = append(chosen, v)
	}
	return chosen, nil
}

func names(values []Value) []string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		out = append(out, v.Name)
	}
	return slices.Clip(out)
}

// errClosed is what a session that was closed says.
var errClosed = errors.New("the session is closed")
