// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/atelier-dev/atelier/internal/ort"
)

// fakeRuntime opens sessions that compute nothing, and remembers what was opened and
// closed, in order.
type fakeRuntime struct {
	mu  sync.Mutex
	log []string
	// openErr fails Open for a part, closeErr Close and sessionErr Err.
	openErr, closeErr, sessionErr map[string]error
	// run, unless nil, takes the place of a network.
	run func(ctx context.Context, part string, inputs, outputs map[string]*ort.Tensor) error
	// open sessions by part.
	open map[string]int
}

func (r *fakeRuntime) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *fakeRuntime) Device() (ort.Device, bool) { return ort.Device{Type: ort.CPU}, true }

func (r *fakeRuntime) ChooseDevice() (ort.Device, error) { return ort.Device{Type: ort.CPU}, nil }

// Open takes the graph, and no more.
func (r *fakeRuntime) Open(path string, graph ort.Graph, _ ...string) (ort.Session, error) {
	part := filepath.Base(filepath.Dir(path))
	r.note("open %s", part)
	if err := r.openErr[part]; err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = map[string]int{}
	}
	r.open[part]++
	return &fakeSession{runtime: r, part: part, graph: graph}, nil
}

// left is the number of sessions that are open.
func (r *fakeRuntime) left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, count := range r.open {
		n += count
	}
	return n
}

type fakeSession struct {
	runtime *fakeRuntime
	part    string
	graph   ort.Graph
}

func (s *fakeSession) Graph() ort.Graph { return s.graph }

func (s *fakeSession) Err() error {
	s.runtime.mu.Lock()
	defer s.runtime.mu.Unlock()
	return s.runtime.sessionErr[s.part]
}

func (s *fakeSession) Run(ctx context.Context, inputs, outputs map[string]*ort.Tensor) error {
	if s.runtime.run != nil {
		return s.runtime.run(ctx, s.part, inputs, outputs)
	}
	return ctx.Err()
}

func (s *fakeSession) Close() error {
	s.runtime.note("close %s", s.part)
	s.runtime.mu.Lock()
	defer s.runtime.mu.Unlock()
	if err := s.runtime.closeErr[s.part]; err != nil {
		return err
	}
	s.runtime.open[s.part]--
	return nil
}
