// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "errors"

// dropFiles is not possible on other systems without privilege.
func dropFiles(string) error {
	return errors.New("files can be dropped from memory on Linux only")
}
