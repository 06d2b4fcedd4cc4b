// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
)

// Record says what a model of the cache consists of and where it came from.
type Record struct {
	// Digest names the model: that of an OCI manifest or of an archive.
	Digest string `json:"digest"`
	// Source is where it was fetched.
	Source string `json:"source"`
	// Fetched is when.
	Fetched time.Time `json:"fetched"`
	// Files of the model directory.
	Files []File `json:"files"`
	// Archives are the blobs that were unpacked, so that another model with the same
	// one need not fetch it.
	Archives []Archive `json:"archives,omitempty"`
}

// File is one file of a model.
type File struct {
	// Path relative to the model directory, or as an archive has it, with slashes.
	Path string `json:"path"`
	// SHA256 of the bytes in hexadecimal.
	SHA256 string `json:"sha256"`
	// SizeBytes of the file.
	SizeBytes int64 `json:"sizeBytes"`
}

// Archive is a blob that was unpacked.
type Archive struct {
	Digest string `json:"digest"`
	Files  []File `json:"files"`
}

// SizeBytes is the size of all files.
func (r Record) SizeBytes() int64 {
	var size int64
	for _, file := range r.Files {
		size += file.SizeBytes
	}
	return size
}

// readRecord reads the record of a model.
func (c *Cache) readRecord(sum string) (Record, error) {
	var record Record
	data, err := os.ReadFile(c.recordFile(sum))
	if err != nil {
		return record, err
	}
	if err := json.Unmarshal(data, &record); err != nil {
		return record, fmt.Errorf("model cache: %s: %w", c.recordFile(sum), err)
	}
	return record, nil
}

// complete checks that all files are there with the sizes they had.
func (c *Cache) complete(record Record) error {
	dir, err := c.Dir(record.Digest)
	if err != nil {
		return err
	}
	for _, file := range record.Files {
		info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(file.Path)))
		if err != nil {
			return fmt.Errorf("model cache: %s: %w", record.Digest, err)
		}
		if info.Size() != file.SizeBytes {
			return &fetch.VerifyError{Source: path.Join(record.Source, file.Path), Want: fmt.Sprintf("one of %d bytes", file.SizeBytes), Got: fmt.Sprintf("of %d bytes", info.Size())}
		}
	}
	return nil
}

// Verify reads all files of a model again and compares their digests. A file that has
// changed is a *fetch.VerifyError.
func (m *Model) Verify() error {
	var errs []error
	for _, file := range m.Record.Files {
		got, err := hashFile(filepath.Join(m.Dir, filepath.FromSlash(file.Path)))
		switch {
		case err != nil:
			errs = append(errs, err)
		case got != file.SHA256:
			errs = append(errs, &fetch.VerifyError{Source: file.Path, Want: "sha256:" + file.SHA256, Got: "sha256:" + got})
		}
	}
	return errors.Join(errs...)
}

// hashFile gives the sha256 of a file in hexadecimal.
func hashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // Only read from.
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// Entry is one model of a listing.
type Entry struct {
	Record
	// Used is when the model was last taken into use or let go.
	Used time.Time
	// InUse says that a process has it.
	InUse bool
}

// List gives the models of the cache, the one used last first.
func (c *Cache) List() ([]Entry, error) {
	sums, err := names(c.path("models"))
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(sums))
	for _, sum := range sums {
		record, err := c.readRecord(sum)
		if errors.Is(err, fs.ErrNotExist) {
			continue // Thrown away a moment ago.
		}
		if err != nil {
			return nil, err
		}
		entry := Entry{Record: record, Used: c.used(sum)}
		l, err := tryLock(c.lockFile(sum), exclusive)
		if err != nil {
			return nil, err
		}
		if entry.InUse = l == nil; l != nil {
			l.unlock()
		}
		entries = append(entries, entry)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.Digest, b.Digest)) })
	return entries, nil
}

// used is when a model was last used.
func (c *Cache) used(sum string) time.Time {
	info, err := os.Stat(c.lockFile(sum))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// names gives the names in a directory.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("model cache: %w", err)
	}
	list := make([]string, len(entries))
	for i, entry := range entries {
		list[i] = entry.Name()
	}
	return list, nil
}
