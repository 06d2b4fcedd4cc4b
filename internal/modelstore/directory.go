// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Bounds on the files that are read into memory. The largest vocabularies take a few
// megabytes; a file beyond these is not what its name says.
const (
	maxConfigSize    = 1 << 20
	maxTokenizerSize = 64 << 20
)

// Directory is an open model directory in the diffusers ONNX layout. Nothing outside it
// is read, whatever the symbolic links in it say, with one exception: a snapshot in
// Hugging Face's cache, models--ORGANISATION--NAME/snapshots/REVISION, consists of links
// to ../../blobs. From there links may lead to what else that cache folder holds, which
// is of the same model, and no further.
type Directory struct {
	path string
	// root is what links may not lead out of, and folder the model's place in it.
	root   *os.Root
	folder string
}

// Open opens a model directory.
func Open(dir string) (*Directory, error) {
	bounds, folder, err := bounds(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &ModelError{File: ".", Message: "the model directory " + dir + " does not exist", Err: err}
	}
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(bounds)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the model directory: %w", err)
	}
	return &Directory{path: dir, root: root, folder: folder}, nil
}

// bounds gives the folder that a model directory's links may not lead out of, and the
// directory's place in it.
func bounds(dir string) (root, folder string, err error) {
	dir, err = filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", "", err
	}
	snapshots, revision := filepath.Split(dir)
	cache := filepath.Dir(filepath.Clean(snapshots))
	if filepath.Base(snapshots) == "snapshots" && strings.HasPrefix(filepath.Base(cache), "models--") {
		return cache, filepath.Join("snapshots", revision), nil
	}
	return dir, ".", nil
}

// within gives the place of a file of the model in root.
func (d *Directory) within(name string) (string, error) {
	local := filepath.FromSlash(name)
	if !filepath.IsLocal(local) {
		return "", &ModelError{File: name, Message: "leads out of the model directory"}
	}
	return filepath.Join(d.folder, local), nil
}

// Size is the size of all files of the model in bytes. A link counts as what it leads to.
func (d *Directory) Size() (int64, error) {
	var size int64
	err := d.each(func(_ string, info fs.FileInfo) error {
		size += info.Size()
		return nil
	})
	return size, err
}

// Warm reads every file of the model once, so that the system has them in memory for as long
// as it has nothing better to do with that. It ends with ctx.
func (d *Directory) Warm(ctx context.Context) error {
	buffer := make([]byte, 1<<20)
	return d.each(func(name string, _ fs.FileInfo) error {
		f, err := d.root.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // Only read from.
		for err == nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			_, err = f.Read(buffer)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
}

// each visits every file of the model, by its name in root. A link is what it leads to.
func (d *Directory) each(visit func(name string, info fs.FileInfo) error) error {
	return fs.WalkDir(d.root.FS(), filepath.ToSlash(d.folder), func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = filepath.FromSlash(name)
		info, err := d.root.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		return visit(name, info)
	})
}

// Close closes the directory; what was read from it stays good.
func (d *Directory) Close() error { return d.root.Close() }

// File checks that a file is there, regular and inside the directory, and gives its
// path for a library that opens it by itself.
func (d *Directory) File(name string) (string, error) {
	place, err := d.within(name)
	if err != nil {
		return "", err
	}
	info, err := d.root.Stat(place)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &ModelError{File: name, Message: "is missing", Err: err}
	case err != nil:
		return "", &ModelError{File: name, Message: "can't be opened: " + err.Error(), Err: err}
	case !info.Mode().IsRegular():
		return "", &ModelError{File: name, Message: "must be a regular file"}
	case info.Size() == 0:
		return "", &ModelError{File: name, Message: "is empty"}
	}
	return filepath.Join(d.path, filepath.FromSlash(name)), nil
}

// Read gives the contents of a file of at most a few megabytes.
func (d *Directory) Read(name string) ([]byte, error) {
	if _, err := d.File(name); err != nil {
		return nil, err
	}
	limit := int64(maxConfigSize)
	if folder := path.Dir(name); folder == Tokenizer || folder == Tokenizer2 {
		limit = maxTokenizerSize
	}
	f, err := d.root.Open(filepath.Join(d.folder, filepath.FromSlash(name)))
	if err != nil {
		return nil, &ModelError{File: name, Message: "can't be opened: " + err.Error(), Err: err}
	}
	defer func() { _ = f.Close() }() // Only read from.
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("model file %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, &ModelError{File: name, Message: fmt.Sprintf("is larger than %d bytes", limit)}
	}
	return data, nil
}

// ReadOptional is Read for a file that may be missing; it then gives nothing.
func (d *Directory) ReadOptional(name string) ([]byte, error) {
	data, err := d.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// readJSON reads a JSON object into a struct.
func (d *Directory) readJSON(name string, into any) error {
	data, err := d.Read(name)
	if err != nil {
		return err
	}
	return decode(name, data, into)
}

// decode reads a JSON object into a struct. The field is named where one is at fault.
func decode(name string, data []byte, into any) error {
	err := json.Unmarshal(data, into)
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return &ModelError{File: name, Field: wrongType.Field, Message: fmt.Sprintf("is a JSON %s; must be %s", wrongType.Value, kindName(wrongType)), Err: err}
	}
	return &ModelError{File: name, Message: "must be a JSON object: " + err.Error(), Err: err}
}
