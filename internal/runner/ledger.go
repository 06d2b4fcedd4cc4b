// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// ledger holds what the status of the Runner is to say. Everyone edits it here; the
// writer carries it to the API server. An edit is either urgent, and is written at once,
// or rides along with the next urgent one or after the interval, whichever is first.
type ledger struct {
	clock clock.Clock
	// wrote has an element after a write succeeded, for one reader.
	wrote chan struct{}

	mu     sync.Mutex
	status v1alpha1.RunnerStatus
	// resourceVersion of the Runner the status was decided on; empty while there is
	// no Runner that is ours to write.
	resourceVersion string
	// held is true during a batch.
	held bool
	// version counts the edits, urgent is the newest urgent one and written the
	// newest that the API server has.
	version, urgent, written int64
	writtenAt                time.Time
	// interval is the least time from there to a write of nothing but progress.
	interval time.Duration
	// changed is closed and replaced when anything above changes.
	changed chan struct{}
}

func newLedger(clk clock.Clock, status v1alpha1.RunnerStatus) *ledger {
	return &ledger{
		clock:   clk,
		status:  status,
		wrote:   make(chan struct{}, 1),
		changed: make(chan struct{}),
	}
}

// urgency says how soon an edit is to be written.
type urgency bool

const (
	// soon lets an edit wait for company.
	soon urgency = false
	// now has an edit written at once.
	now urgency = true
)

// edit changes the status and gives the edit's number.
func (l *ledger) edit(when urgency, change func(*v1alpha1.RunnerStatus)) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.status)
	l.version++
	if when == now {
		l.urgent = l.version
	}
	l.broadcast()
	return l.version
}

// read gives a copy of the status.
func (l *ledger) read() *v1alpha1.RunnerStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status.DeepCopy()
}

// batch runs change and has everything that it edits written together.
func (l *ledger) batch(change func()) {
	l.setHeld(true)
	defer l.setHeld(false)
	change()
}

func (l *ledger) setHeld(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held
	l.broadcast()
}

// attach says that the status was decided on this version of the Runner, against which
// it may now be written.
func (l *ledger) attach(runner *v1alpha1.Runner) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.resourceVersion == "" || newer(runner.ResourceVersion, l.resourceVersion) {
		l.resourceVersion = runner.ResourceVersion
	}
	if l.status.ObservedGeneration != runner.Generation {
		l.status.ObservedGeneration = runner.Generation
		for i := range l.status.Conditions {
			l.status.Conditions[i].ObservedGeneration = runner.Generation
		}
		l.version++
	}
	l.broadcast()
}

// detach says that there is no Runner to write to.
func (l *ledger) detach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resourceVersion = ""
	l.broadcast()
}

// idle reports whether there is nothing that could be written.
func (l *ledger) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resourceVersion == "" || l.written >= l.version
}

// sync waits until the API server has every urgent edit made so far, or gives the cause
// for which ctx is done.
func (l *ledger) sync(ctx context.Context) error {
	l.mu.Lock()
	target := l.urgent
	l.mu.Unlock()
	for {
		written, changed := l.progress()
		if written >= target || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// progress gives the newest edit that the API server has, and a channel that is closed
// when that may have changed.
func (l *ledger) progress() (written int64, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written, l.changed
}

// page is the status as it was at one edit.
type page struct {
	version         int64
	resourceVersion string
	status          *v1alpha1.RunnerStatus
}

// next waits for something that is due to be written.
func (l *ledger) next(ctx context.Context) (page, error) {
	for {
		due, delay, changed := l.peek()
		if delay <= 0 {
			return due, nil
		}
		timer := l.clock.NewTimer(delay)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return page{}, ctx.Err()
		}
	}
}

// The least time between two writes that carry nothing but progress. It grows with the time
// that a write takes, so that runners in their hundreds take little from an API server that
// has too much to do already.
const (
	progressInterval    = time.Second
	maxProgressInterval = 10 * time.Second
	// progressShare is how many times longer than a write it takes no other follows it.
	progressShare = 20
)

// intervalAfter is the least time from a write that took so long to the next progress.
func intervalAfter(took time.Duration) time.Duration {
	return min(max(progressInterval, progressShare*took), maxProgressInterval)
}

// never is longer than any process lives.
const never = 100 * 365 * 24 * time.Hour

// peek gives the page that is due to be written, or the time until one is, and a channel
// that is closed when that may have changed.
func (l *ledger) peek() (due page, delay time.Duration, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.held || l.resourceVersion == "" || l.written >= l.version:
		return page{}, never, l.changed
	case l.written >= l.urgent && l.clock.Since(l.writtenAt) < l.interval:
		return page{}, l.interval - l.clock.Since(l.writtenAt), l.changed
	default:
		return page{version: l.version, resourceVersion: l.resourceVersion, status: l.status.DeepCopy()}, 0, l.changed
	}
}

// accepted says that the API server has a page, how long it took over it and what version
// the Runner has now.
func (l *ledger) accepted(p page, took time.Duration, resourceVersion string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written, l.writtenAt, l.interval = p.version, l.clock.Now(), intervalAfter(took)
	if l.resourceVersion == p.resourceVersion {
		l.resourceVersion = resourceVersion
	}
	l.broadcast()
	select {
	case l.wrote <- struct{}{}:
	default:
	}
}

// broadcast wakes everyone who waits for a change. The caller holds the lock.
func (l *ledger) broadcast() {
	close(l.changed)
	l.changed = make(chan struct{})
}
