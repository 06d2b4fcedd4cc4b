// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package child

import "syscall"

// bind has the process lead a group of its own and end with this one.
func bind(attr *syscall.SysProcAttr) {
	attr.Setpgid = true
	attr.Pdeathsig = syscall.SIGKILL
}
