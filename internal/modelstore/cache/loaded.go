// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// That something was loaded of which there are no derived files is noted by its key, so that
// every process of the cache can tell the first time from later ones:
//
//	derived/loaded/KEY  an empty file; its time is that of the first load
//
// A runner of a version that knows no notes takes the folder for derived files of no size.

// loadedFolder is where the notes are.
const loadedFolder = "loaded"

// maxLoaded bounds the notes, as nobody says that a key is not wanted any more.
const maxLoaded = 1000

func (c *Cache) loaded() string               { return c.path("derived", loadedFolder) }
func (c *Cache) loadedFile(key string) string { return filepath.Join(c.loaded(), key) }

// NoteLoaded notes that what a key is of was loaded without derived files. It says whether
// that was noted before, and not taken back since by making them or by Prune.
func (c *Cache) NoteLoaded(key string) (again bool, err error) {
	if err := os.MkdirAll(c.loaded(), dirMode); err != nil {
		return false, fmt.Errorf("model cache: %w", err)
	}
	note, err := os.OpenFile(c.loadedFile(key), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if errors.Is(err, fs.ErrExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("model cache: %w", err)
	}
	return false, errors.Join(note.Close(), c.boundLoaded(maxLoaded))
}

// boundLoaded takes the oldest notes back until there are no more than most.
func (c *Cache) boundLoaded(most int) error {
	keys, err := names(c.loaded())
	if errors.Is(err, fs.ErrNotExist) || len(keys) <= most {
		return nil
	}
	if err != nil {
		return err
	}
	noted := make(map[string]time.Time, len(keys))
	for _, key := range keys {
		if info, err := os.Stat(c.loadedFile(key)); err == nil { // Else it was taken back a moment ago.
			noted[key] = info.ModTime()
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return noted[a].Compare(noted[b]) })
	for _, key := range keys[:len(keys)-most] {
		if err := c.forgetLoaded(key); err != nil {
			return err
		}
	}
	return nil
}

// forgetLoaded takes a note back, where there is one.
func (c *Cache) forgetLoaded(key string) error {
	if err := os.Remove(c.loadedFile(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("model cache: %w", err)
	}
	return nil
}
