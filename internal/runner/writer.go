// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// writeBackoff spaces the attempts of a write that fails: soon again at first, as most
// failures are conflicts with the manager, and every five seconds in the long run.
func writeBackoff() wait.Backoff {
	return wait.Backoff{Duration: 20 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 10, Cap: 5 * time.Second}
}

// writer carries the ledger to the API server, one request at a time.
type writer struct {
	client  *Client
	ledger  *ledger
	clock   clock.Clock
	log     *slog.Logger
	metrics *Metrics
	// observed takes a Runner that a refused write made the writer read, nil for none.
	observed chan<- *v1alpha1.Runner
}

// run writes until ctx is done. What could not be written stays due, with whatever was
// added meanwhile.
func (w *writer) run(ctx context.Context) {
	backoff := writeBackoff()
	for {
		page, err := w.ledger.next(ctx)
		if err != nil {
			return
		}
		err = w.write(ctx, page)
		w.metrics.wrote(err)
		if err == nil {
			backoff = writeBackoff()
			continue
		}
		delay := backoff.Step()
		w.log.Warn("Status not written, trying again", "delay", delay.String(), "error", err)
		select {
		case <-w.clock.After(delay):
		case <-ctx.Done():
			return
		}
	}
}

// write tries once. A refusal for the Runner having changed is answered by reading it:
// the agent decides on the new one before the status is written to it.
func (w *writer) write(ctx context.Context, page page) error {
	begin := w.clock.Now()
	runner, err := w.client.patchStatus(ctx, page.resourceVersion, page.status)
	switch {
	case err == nil:
		w.ledger.accepted(page, w.clock.Since(begin), runner.ResourceVersion)
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		w.refresh(ctx)
	}
	return err
}

// refresh shows the agent the Runner as it is. Nothing is lost if that fails: the watch
// brings the change too, and the write is refused until one of them did.
func (w *writer) refresh(ctx context.Context) {
	runner, err := w.client.get(ctx)
	if apierrors.IsNotFound(err) {
		runner, err = nil, nil
	}
	if err != nil {
		w.log.Warn("Runner not read after a refused write", "error", err)
		return
	}
	select {
	case w.observed <- runner:
	case <-ctx.Done():
	}
}
