// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import "sync"

// Bindings is shared by the two reconcilers: it lets a job's end wait for the bindings that
// are on their way.
//
// Before it binds jobs, the PoolReconciler asks the API server whether they may still begin,
// and the write comes a moment later. A job that is found free in between, and ends or is
// parked for it, could be given away all the same. Whoever waits here after the end was
// recorded knows that what was asked before has been written, and that what is asked later
// is refused.
type Bindings struct{ mutex sync.RWMutex }

// begin says that jobs are about to be bound. The function that it returns says that they
// are, or are not.
func (b *Bindings) begin() (done func()) {
	b.mutex.RLock()
	return b.mutex.RUnlock
}

// wait returns when the bindings that had begun are done.
func (b *Bindings) wait() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
}
