// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"context"
	"time"

	"github.com/atelier-dev/atelier/internal/retry"
)

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
	return retry.Do(ctx, r.First, try, func(err error, wait time.Duration) bool {
		if r.Failed != nil {
			r.Failed()
		}
		return IsTemporary(err) && !time.Now().Add(wait).After(r.Until)
	})
}
