// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"
)

// onnxSession is a Session over the real library.
type onnxSession struct {
	graph Graph

	// running is held during Run, so that Close waits for its end.
	running sync.Mutex
	session *onnx.DynamicAdvancedSession
	inputs  []binding
	outputs []binding
	// release lets go of the files that the session maps; nil where there is nothing to.
	release func()

	mu  sync.Mutex
	err error
}

// Graph describes the inputs and the computed outputs.
func (s *onnxSession) Graph() Graph { return s.graph }

// Err says why the session can't be used any more.
func (s *onnxSession) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail records why the session can't be used any more; the first reason stays.
func (s *onnxSession) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// Close waits for a Run to end and gives the memory back.
func (s *onnxSession) Close() error {
	s.running.Lock()
	defer s.running.Unlock()
	if s.session == nil {
		return nil
	}
	s.fail(errClosed)
	session := s.session
	s.session, s.inputs, s.outputs = nil, nil, nil
	err := session.Destroy()
	if s.release != nil {
		s.release()
	}
	trimMemory()
	return err
}

// Run computes the outputs from the inputs.
func (s *onnxSession) Run(ctx context.Context, inputs, outputs map[string]*Tensor) error {
	s.running.Lock()
	defer s.running.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.Err(); err != nil {
		return err
	}
	// ONNX Runtime keeps the addresses of the tensors' data while the graph runs, for
	// longer than the call that takes them, so that Go must be told.
	var pins runtime.Pinner
	defer pins.Unpin()

	in, err := bindAll(&s.inputs, s.graph.Inputs, inputs, (*binding).input, &pins)
	defer release(in...)
	if err != nil {
		return fmt.Errorf("input %w", err)
	}
	out, err := bindAll(&s.outputs, s.graph.Outputs, outputs, (*binding).output, &pins)
	defer release(out...)
	if err != nil {
		return fmt.Errorf("output %w", err)
	}
	if err := s.compute(ctx, in, out); err != nil {
		return err
	}
	for i, v := range s.graph.Outputs {
		s.outputs[i].store(v.Type, outputs[v.Name])
	}
	return nil
}

// compute runs the graph, and ends it when ctx is done.
func (s *onnxSession) compute(ctx context.Context, in, out []onnx.Value) error {
	options, err := onnx.NewRunOptions()
	if err != nil {
		return err
	}
	defer release(options)
	terminated := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(terminated)
		_ = options.Terminate() // It fails only for options that are destroyed.
	})
	err = s.session.RunWithOptions(in, out, options)
	if !stop() {
		<-terminated // The options must outlive the call that ends the run.
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case deviceLost(err):
		s.fail(err)
	}
	return err
}

// deviceLost recognises errors after which CUDA refuses everything in this process.
// Running out of memory is not one: the next, smaller run may work.
func deviceLost(err error) bool {
	text := err.Error()
	return strings.Contains(text, "CUDA failure") && !strings.Contains(text, "out of memory")
}

// wrapFunc is binding.input or binding.output.
type wrapFunc func(*binding, ElementType, *Tensor, *runtime.Pinner) (onnx.Value, error)

// bindAll wraps a tensor for each value of the graph. What it returns is to be
// destroyed, also after an error.
func bindAll(bindings *[]binding, values []Value, tensors map[string]*Tensor, wrap wrapFunc, pins *runtime.Pinner) ([]onnx.Value, error) {
	if *bindings == nil {
		*bindings = make([]binding, len(values))
	}
	wrapped := make([]onnx.Value, 0, len(values))
	for i, v := range values {
		tensor, ok := tensors[v.Name]
		if !ok {
			return wrapped, fmt.Errorf("%s: no tensor is given for it", v.Name)
		}
		if err := tensor.check(v); err != nil {
			return wrapped, err
		}
		value, err := wrap(&(*bindings)[i], v.Type, tensor, pins)
		if err != nil {
			return wrapped, fmt.Errorf("%s: %w", v.Name, err)
		}
		wrapped = append(wrapped, value)
	}
	if len(tensors) != len(values) {
		return wrapped, fmt.Errorf("tensors: %d are given, but the graph has %q", len(tensors), names(values))
	}
	return wrapped, nil
}

// release gives back what the library allocated for values and options. They only fail
// when they are given back twice.
func release[T interface{ Destroy() error }](things ...T) {
	for _, thing := range things {
		_ = thing.Destroy()
	}
}
