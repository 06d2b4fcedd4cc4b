// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"

	"github.com/atelier-dev/atelier/internal/ort"
)

// Prepare has the graphs of models that were loaded prepared, so that they load quicker the
// next time, until ctx is done. It begins after pictures were drawn, not before, so that the
// first picture does not wait for it, and begins no graph while there is other work.
func (p *Pipeline) Prepare(ctx context.Context) {
	for {
		select {
		case <-p.drawn:
		case <-ctx.Done():
			return
		}
		for found := true; found && p.idle(); {
			found, _ = p.prepareOne(ctx) // An error was logged, and nothing depends on it.
		}
	}
}

// PrepareAll has the graphs prepared of all models that were loaded, and says how many that
// were. An error is of those that could not be.
func (p *Pipeline) PrepareAll(ctx context.Context) (prepared int, err error) {
	for found := true; found; {
		var failed error
		if found, failed = p.prepareOne(ctx); found && failed == nil {
			prepared++
		}
		err = errors.Join(err, failed)
	}
	return prepared, errors.Join(err, ctx.Err())
}

// prepareOne has one graph prepared. It is false when there is none to prepare.
func (p *Pipeline) prepareOne(ctx context.Context) (found bool, err error) {
	preparer, ok := p.runtime.(ort.Preparer)
	if !ok {
		return false, nil
	}
	return preparer.Prepare(ctx)
}

// idle says that nothing is being loaded, unloaded or drawn.
func (p *Pipeline) idle() bool { return len(p.work) == 0 }

// noteDrawn tells Prepare that pictures were drawn.
func (p *Pipeline) noteDrawn() {
	select {
	case p.drawn <- struct{}{}:
	default: // It was told, and did not get to it.
	}
}
