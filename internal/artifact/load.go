// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // For image.Decode.
	_ "image/png"  // For image.Decode.
	"io"
	"os"
	"path/filepath"
	"syscall"

	_ "golang.org/x/image/webp" // For image.Decode.
)

// Bounds on pictures that are read, checked before anything of the size is allocated.
const (
	maxFileBytes = 64 << 20
	maxPixels    = 4096 * 4096
)

// NotPictureError says why a file can't be the picture that was asked for. Reading it again
// can't help until it is another file.
type NotPictureError struct {
	// Path as it was asked for.
	Path string
	// Message says what was found and what would be right.
	Message string
}

// Error names the path before the message.
func (e *NotPictureError) Error() string { return e.Path + ": " + e.Message }

// Load reads the picture in the file at name, relative to dir: a PNG, a JPEG or a WebP, by its
// content whatever its name, and a JPEG turned upright as its Exif says. Neither .. nor a symbolic link leads out of dir. The error is a
// *NotPictureError where the file is not there or is no such picture, and another one where
// the volume is the matter.
func Load(dir, name string) (image.Image, error) {
	data, err := read(dir, name)
	if err != nil {
		return nil, err
	}
	return decode(name, data)
}

// decode decodes a picture whose header promises no more pixels than are allowed.
func decode(name string, data []byte) (image.Image, error) {
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	switch {
	case err != nil || !readable(format):
		return nil, &NotPictureError{name, "must be a PNG, JPEG or WebP picture"}
	case config.Width < 1 || config.Height < 1 || config.Height > maxPixels/config.Width:
		return nil, &NotPictureError{name, fmt.Sprintf("has %dx%d pixels; must have from 1 to %d, which is 4096x4096", config.Width, config.Height, maxPixels)}
	}
	picture, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, &NotPictureError{name, "must be a whole picture: " + err.Error()}
	}
	return upright(colours(picture, format), data), nil
}

// readable says whether a format, as package image names it, is one that Encode writes.
// Others may be registered by whatever else the process links.
func readable(format string) bool {
	_, ok := FormatOf("." + format)
	return ok
}

// read reads a regular file of bounded size.
func read(dir, name string) ([]byte, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, &NotPictureError{name, "must be a relative path that stays inside the outputs directory"}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("outputs directory: %w", err)
	}
	defer func() { _ = root.Close() }() // Only read from.
	info, err := root.Stat(filepath.FromSlash(name))
	switch {
	case err != nil:
		return nil, openError(name, err)
	case !info.Mode().IsRegular():
		return nil, &NotPictureError{name, "must be a file"}
	}
	file, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, openError(name, err)
	}
	defer func() { _ = file.Close() }() // Only read from.
	// The file may grow while it is read.
	data, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(data) > maxFileBytes {
		return nil, &NotPictureError{name, fmt.Sprintf("must have at most %d bytes", maxFileBytes)}
	}
	return data, nil
}

// openError tells paths that lead to no file from a volume that can't be read. What the
// system did not say comes from os.Root, which refuses paths that lead out of it.
func openError(name string, err error) error {
	var system syscall.Errno
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return &NotPictureError{name, "is not there"}
	case !errors.As(err, &system), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL):
		return &NotPictureError{name, "must lead to a file inside the outputs directory"}
	}
	return fmt.Errorf("reading %s: %w", name, err)
}
