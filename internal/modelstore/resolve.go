// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package modelstore finds model directories and reads what is in them, within bounds
// and with errors that name file and field.
package modelstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Resolve gives the absolute path of the model directory at path, which is relative to
// modelsDir. Neither .. nor a symbolic link leads out of modelsDir: both are refused
// with a *ModelError, as is a directory that is not there.
func Resolve(modelsDir, path string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(path)) {
		return "", &ModelError{File: path, Message: "the path must be relative and stay inside the models directory"}
	}
	base, err := filepath.Abs(modelsDir)
	if err == nil {
		base, err = filepath.EvalSymlinks(base)
	}
	if err != nil {
		return "", fmt.Errorf("models directory %s: %w", modelsDir, err)
	}
	// EvalSymlinks follows what os.Root would refuse, so that the answer can be checked
	// against the base whatever way the links lead.
	dir, err := filepath.EvalSymlinks(filepath.Join(base, filepath.FromSlash(path)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", &ModelError{File: path, Message: "there is no such directory in the models directory", Err: err}
	}
	if err != nil {
		return "", fmt.Errorf("model directory %s: %w", path, err)
	}
	rel, err := filepath.Rel(base, dir)
	if err != nil || !filepath.IsLocal(rel) {
		return "", &ModelError{File: path, Message: "a symbolic link leads out of the models directory"}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("model directory %s: %w", path, err)
	}
	if !info.IsDir() {
		return "", &ModelError{File: path, Message: "is a file; a model is a directory with a model_index.json"}
	}
	return dir, nil
}
