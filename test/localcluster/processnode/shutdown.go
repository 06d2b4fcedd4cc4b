// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"sync"
	"time"
)

// shutdown tells the processes of a pod that they are to end, and when they have had
// their time.
type shutdown struct {
	begun chan struct{} // closed when processes are to end
	over  chan struct{} // closed when the grace period is over

	mu       sync.Mutex
	timer    *time.Timer
	deadline time.Time
}

func newShutdown() *shutdown {
	return &shutdown{begun: make(chan struct{}), over: make(chan struct{})}
}

// begin starts the shutdown. Another call can make the grace period shorter, as a second
// deletion of a pod can, and never longer.
func (s *shutdown) begin(grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	deadline := time.Now().Add(grace)
	if s.timer == nil {
		close(s.begun)
		s.deadline = deadline
		s.timer = time.AfterFunc(grace, func() { close(s.over) })
		return
	}
	if deadline.Before(s.deadline) && s.timer.Stop() {
		s.deadline = deadline
		s.timer.Reset(grace)
	}
}

// hasBegun reports whether processes are to end.
func (s *shutdown) hasBegun() bool {
	select {
	case <-s.begun:
		return true
	default:
		return false
	}
}

// sleep waits for d. It returns false, early, when the shutdown begins.
func (s *shutdown) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.begun:
		return false
	}
}
