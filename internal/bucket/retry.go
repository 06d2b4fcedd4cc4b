// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"context"
	"time"
)

// maxWait bounds the wait between two tries.
const maxWait = 30 * time.Second

// Retry says how long to go on trying after errors that may pass.
type Retry struct {
	// First is the wait after the first try; it doubles with each, up to half a minute.
	First time.Duration
	// Budget is how long after the first try another one may begin.
	Budget time.Duration
}

// do tries until it works, the error will stay, or the budget does not allow the next wait.
func (r Retry) do(ctx context.Context, try func() error) error {
	begin := time.Now()
	for wait := r.First; ; wait = min(2*wait, maxWait) {
		err := try()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil || !isTemporary(err) || time.Since(begin)+wait > r.Budget {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}
