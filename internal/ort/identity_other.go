// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package ort

import (
	"errors"
	"os"
)

// processorFeatures are not known on other systems, so that no graphs are prepared there.
func processorFeatures() (string, error) {
	return "", errors.New("graphs are prepared on Linux only")
}

// version tells a file from what it was before.
func version(info os.FileInfo) string { return info.ModTime().String() }
