// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"

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
		for p.idle() && p.PrepareOne(ctx) {
			continue
		}
	}
}

// PrepareOne has one graph prepared. It is false when there is none to prepare.
func (p *Pipeline) PrepareOne(ctx context.Context) bool {
	preparer, ok := p.runtime.(ort.Preparer)
	return ok && preparer.Prepare(ctx)
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
