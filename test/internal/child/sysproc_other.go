// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package child

import "syscall"

// bind has the process lead a group of its own.
func bind(attr *syscall.SysProcAttr) { attr.Setpgid = true }
