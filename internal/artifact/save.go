// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
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

// SaveAgain is Save where an earlier process may have been killed while it saved the same
// file. It also removes what that left, for which it reads the whole folder.
func SaveAgain(dir, name string, data []byte) (File, error) {
	file, err := Save(dir, name, data)
	if err == nil {
		removeLeftovers(dir, filepath.FromSlash(name))
	}
	return file, err
}

// tries is how often a file is written whose partial file vanishes. See openPartial.
const tries = 3

// replace writes data beside the file and moves it into its place.
func replace(root *os.Root, name string, data []byte) error {
	var err error
	for range tries {
		if err = writeAndMove(root, name, data); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return err
	}
	return syncFolder(root, filepath.Dir(name))
}

// writeAndMove waits until the data are on the disk before it moves them.
func writeAndMove(root *os.Root, name string, data []byte) error {
	f, partial, err := openPartial(root, name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = root.Rename(partial, name)
	}
	if err != nil {
		err = errors.Join(err, ignoreMissing(root.Remove(partial)))
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
