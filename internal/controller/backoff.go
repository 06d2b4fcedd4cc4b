// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import "time"

// Backoff is how long a job waits after a failed attempt.
type Backoff struct {
	// Base is the wait after the first failure; each further one doubles it.
	Base time.Duration
	// Max bounds the wait.
	Max time.Duration
}

// Delay returns the wait after the n-th counted failure, n from 1.
func (b Backoff) Delay(n int32) time.Duration {
	delay := b.Base
	for ; n > 1 && delay < b.Max; n-- {
		delay *= 2
	}
	return min(delay, b.Max)
}

// DelayLost returns the wait after the n-th attempt that was lost through no fault of the
// job, n from 1. The first is repeated at once, as a drain is no reason to wait; from then on
// a job whose runners go again and again waits as one does that fails.
func (b Backoff) DelayLost(n int32) time.Duration {
	if n <= 1 {
		return 0
	}
	return b.Delay(n - 1)
}
