// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"path/filepath"

	"github.com/atelier-dev/atelier/internal/artifact"
)

// previewFile is where each step is shown.
type previewFile struct {
	path string
	// err is the first that writing met.
	err error
}

// show replaces the file, so that whoever looks at it sees a whole picture.
func (f *previewFile) show(_ int, preview *image.NRGBA) {
	if f.err != nil {
		return
	}
	var encoded bytes.Buffer
	if f.err = png.Encode(&encoded, preview); f.err == nil {
		_, f.err = artifact.SaveAgain(filepath.Dir(f.path), filepath.Base(f.path), encoded.Bytes())
	}
	if f.err != nil {
		f.err = fmt.Errorf("--preview: %w", f.err)
	}
}
