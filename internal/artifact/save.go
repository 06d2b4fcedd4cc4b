// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
)

// File is a file that was saved.
type File struct {
	// Path relative to the directory it was saved under, with forward slashes.
	Path string
	// SHA256 in hexadecimal.
	SHA256    string
	SizeBytes int64
}

// Save writes data to the file at name, relative to dir, and makes the folders on the
// way. When it returns, the file is on the disk with these bytes; at any moment before,
// a reader or a crash finds the whole old file or none. Saving again gives the same
// file. Neither .. nor a symbolic link leads out of dir.
func Save(dir, name string, data []byte) (File, error) {
	file := filepath.FromSlash(name)
	if !filepath.IsLocal(file) || filepath.Clean(file) == "." {
		return File{}, fmt.Errorf("saving %q: the path must be relative, name a file and stay inside the outputs directory", name)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return File{}, fmt.Errorf("outputs directory: %w", err)
	}
	defer func() { _ = root.Close() }() // Nothing is written through it.
	if err := makeFolders(root, filepath.Dir(file)); err != nil {
		return File{}, fmt.Errorf("saving %s: %w", name, err)
	}
	if err := replace(root, file, data); err != nil {
		return File{}, fmt.Errorf("saving %s: %w", name, err)
	}
	sum := sha256.Sum256(data)
	return File{Path: path.Clean(name), SHA256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(data))}, nil
}

// replace writes data beside the file and moves it into its place.
func replace(root *os.Root, name string, data []byte) error {
	// The name is drawn anew each time: two processes may save the same file at once,
	// and each must move only what it wrote whole. It has nothing of the file's name, which
	// may be as long as the file system lets it be.
	partial := filepath.Join(filepath.Dir(name), "."+rand.Text()+".partial")
	err := writeSynced(root, partial, data)
	if err == nil {
		err = root.Rename(partial, name)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(root.Remove(partial)))
	}
	return syncFolder(root, filepath.Dir(name))
}

// writeSynced writes a new file and waits until it is on the disk.
func writeSynced(root *os.Root, name string, data []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// makeFolders makes the folders of a path one by one, so that each new one is on the
// disk in its parent before a file in it is announced.
func makeFolders(root *os.Root, folder string) error {
	if folder == "." {
		return nil
	}
	parent := filepath.Dir(folder)
	if err := makeFolders(root, parent); err != nil {
		return err
	}
	if err := root.Mkdir(folder, 0o755); errors.Is(err, os.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return syncFolder(root, parent)
}

// syncFolder waits until the entries of a folder are on the disk.
func syncFolder(root *os.Root, folder string) error {
	f, err := root.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
