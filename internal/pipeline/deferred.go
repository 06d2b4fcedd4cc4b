// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"sync"

	"github.com/atelier-dev/atelier/internal/ort"
)

// deferred is a session that is opened by its first Run: one for a network that most
// pictures do without.
type deferred struct {
	graph ort.Graph
	open  func() (ort.Session, error)

	mu sync.Mutex
	// session is nil until the first Run; guarded by mu.
	session ort.Session
	closed  bool
}

// errDeferredClosed is what Run and Err say after Close.
var errDeferredClosed = errors.New("the session is closed")

// Graph describes what the file says; nothing is opened for it.
func (d *deferred) Graph() ort.Graph { return d.graph }

// Run opens the session, unless that was done before, and runs it.
func (d *deferred) Run(ctx context.Context, inputs, outputs map[string]*ort.Tensor) error {
	session, err := d.opened()
	if err != nil {
		return err
	}
	return session.Run(ctx, inputs, outputs)
}

func (d *deferred) opened() (ort.Session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errDeferredClosed
	}
	if d.session != nil {
		return d.session, nil
	}
	session, err := d.open()
	if err == nil {
		d.session = session
	}
	return session, err
}

// Err says why the session can't be used any more.
func (d *deferred) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return errDeferredClosed
	case d.session == nil:
		return nil
	}
	return d.session.Err()
}

// Close gives back what was opened.
func (d *deferred) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session != nil {
		if err := d.session.Close(); err != nil {
			return err
		}
	}
	d.session, d.closed = nil, true
	return nil
}
