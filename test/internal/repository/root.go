// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package repository finds this repository's files, wherever in it a test runs.
package repository

import (
	"errors"
	"os"
	"path/filepath"
)

// Root is the nearest directory, from the working directory upwards, with a go.mod: tests run
// in their package's directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod in the working directory or above: run this inside the repository")
		}
	}
}
