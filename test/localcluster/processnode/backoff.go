// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import "time"

// Backoff says how long a container that keeps ending waits for its next start.
type Backoff struct {
	// Base is the wait before the second restart; it doubles with every further one.
	Base time.Duration
	// Max bounds the wait. A run of twice that length begins the count anew.
	Max time.Duration
}

// DefaultBackoff is the kubelet's.
var DefaultBackoff = Backoff{Base: 10 * time.Second, Max: 5 * time.Minute}

// restarts counts what a container's back-off depends on.
type restarts struct {
	backoff Backoff
	next    time.Duration
}

// delay is how long to wait after a run of that length. The first restart is immediate.
func (r *restarts) delay(ran time.Duration) time.Duration {
	if ran > 2*r.backoff.Max {
		r.next = 0
	}
	delay := r.next
	r.next = min(max(2*delay, r.backoff.Base), r.backoff.Max)
	return delay
}
