// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

const (
	// askInterval is after how long without an answer the API server is asked for one.
	askInterval = 10 * time.Second
	// silenceLimit is how long the API server may be silent before /readyz says so: then
	// the pod is not ready, which tells the manager not to rely on this runner.
	silenceLimit = 30 * time.Second
)

// contact knows when the API server last answered. An idle watch looks the same as one on a
// network that is cut, so the API server is asked now and then.
type contact struct {
	clock clock.Clock
	last  atomic.Pointer[time.Time]
}

func newContact(clk clock.Clock) *contact {
	c := &contact{clock: clk}
	c.note()
	return c
}

// note says that the API server has answered now.
func (c *contact) note() {
	at := c.clock.Now()
	c.last.Store(&at)
}

// silence is for how long the API server has not answered.
func (c *contact) silence() time.Duration { return c.clock.Since(*c.last.Load()) }

// err says that the API server is silent for too long; nil where it is not.
func (c *contact) err() error {
	if silence := c.silence(); silence > silenceLimit {
		return fmt.Errorf("the API server has not answered for %s", silence.Round(time.Second))
	}
	return nil
}

// keep asks the API server for an answer whenever there was none for long.
func (c *contact) keep(ctx context.Context, ask func(context.Context)) {
	for {
		select {
		case <-c.clock.After(max(askInterval-c.silence(), time.Second)):
		case <-ctx.Done():
			return
		}
		if c.silence() >= askInterval {
			ask(ctx)
		}
	}
}

// noting has the answers of a transport noted, whatever they are.
func noting(next http.RoundTripper, note func()) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		if err == nil {
			note()
		}
		return response, err
	})
}

// roundTripper is a function that is an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
