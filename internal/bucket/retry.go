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
	// Until is when no other try begins any more; the zero value is one try only.
	Until time.Time
	// Failed is called after each try that failed, before the wait. May be nil.
	Failed func()
}

// do tries until it works, the error will stay, or the next try would be too late.
func (r Retry) do(ctx context.Context, try func() error) error {
	for wait := r.First; ; wait = min(2*wait, maxWait) {
		err := try()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && r.Failed != nil {
			r.Failed()
		}
		if err == nil || !IsTemporary(err) || time.Now().Add(wait).After(r.Until) {
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
