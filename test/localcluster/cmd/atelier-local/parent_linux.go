// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// endWithParent asks for SIGTERM when the parent ends: `go run` does not pass on a
// SIGTERM that it gets itself, and this program would be left behind with its cluster.
func endWithParent() error {
	runtime.LockOSThread() // the request is the thread's, which therefore must stay
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0, 0, 0)
}
