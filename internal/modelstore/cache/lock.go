// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockInterval is how often a lock that another process has is asked for again: the
// kernel's own wait can't be cancelled.
const lockInterval = 100 * time.Millisecond

// The ways to have a lock.
const (
	shared    = unix.LOCK_SH
	exclusive = unix.LOCK_EX
)

// fileLock is a lock on a file, which the kernel takes away when the process ends. The
// file stays: removing it would leave two processes with locks on different files.
type fileLock struct{ file *os.File }

// lock waits for an exclusive lock. Only for what takes moments.
func lock(path string) (*fileLock, error) { return flock(path, unix.LOCK_EX) }

// tryLock gives nil when another has the lock.
func tryLock(path string, how int) (*fileLock, error) {
	l, err := flock(path, how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return l, err
}

func flock(path string, how int) (*fileLock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, lockMode)
	if err != nil {
		return nil, fmt.Errorf("model cache: %w", err)
	}
	l := &fileLock{file: file}
	for {
		err = unix.Flock(int(file.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		l.unlock()
		return nil, fmt.Errorf("model cache: lock on %s: %w", path, err)
	}
	return l, nil
}

// touch notes the time at which the model was used, by which the cache finds the one that
// was not used for longest. Without it the order is off, which is no failure.
func (l *fileLock) touch() {
	now := time.Now()
	_ = os.Chtimes(l.file.Name(), now, now)
}

// unlock lets go: closing the file does.
func (l *fileLock) unlock() { _ = l.file.Close() }
