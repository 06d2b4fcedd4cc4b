// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Derived files are what a program makes of a model to be quicker the next time. The cache
// keeps them beside the models, by a key of 64 hexadecimal digits that says what they were
// made of and how:
//
//	derived/KEY/       the files
//	derived/KEY.tried  has a byte for each process that began to make them, and did not end well
//
// They are the first to go when room is wanted, and no model goes for them. Of other derived
// files only those do that were not used of late: where there is no room for all that is
// loaded in turns, each would else go before it is used.
//
// They are not written through to the disk before they are used: who makes them must notice
// on reading that they are not what was written, as after a power failure.

// triedSuffix ends the name of the file that says that an attempt was begun.
const triedSuffix = ".tried"

// maxTried bounds the attempts to make derived files. One may end as its process is told to.
const maxTried = 3

// derivedRest is for how long derived files are not used before others take their place.
const derivedRest = 24 * time.Hour

// ErrTried says that several processes did not come to the end of making derived files, so
// that no other should try: what killed them may kill that one too.
var ErrTried = errors.New("earlier attempts to make it did not come to their end")

func (c *Cache) derived() string              { return c.path("derived") }
func (c *Cache) derivedDir(key string) string { return c.path("derived", key) }
func (c *Cache) triedFile(key string) string  { return c.derivedDir(key) + triedSuffix }

// UseDerived gives the folder of derived files, which stays until release. It is "" where
// there are none, or a process is at making them.
func (c *Cache) UseDerived(key string) (dir string, release func(), err error) {
	if _, err := os.Stat(c.derivedDir(key)); errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	l, err := tryLock(c.lockFile(key), shared)
	if l == nil || err != nil {
		return "", nil, err
	}
	if _, err := os.Stat(c.derivedDir(key)); err != nil {
		l.unlock()
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil, nil
		}
		return "", nil, fmt.Errorf("model cache: %w", err)
	}
	l.touch()
	return c.derivedDir(key), l.unlock, nil
}

// MakeDerived has fill write derived files of about size bytes to a folder, and keeps them.
// It does nothing where they are there, or another process is at it. The error is a
// *FullError where there is no room, ErrTried, or what fill said.
func (c *Cache) MakeDerived(key string, size int64, fill func(dir string) error) error {
	if _, err := hexOf("sha256:" + key); err != nil {
		return err
	}
	l, err := tryLock(c.lockFile(key), exclusive)
	if l == nil || err != nil {
		return err
	}
	defer l.unlock()
	if _, err := os.Stat(c.derivedDir(key)); err == nil {
		return nil
	}
	if tried, err := os.Stat(c.triedFile(key)); err == nil && tried.Size() >= maxTried {
		return fmt.Errorf("model cache: %s: %w", c.triedFile(key), ErrTried)
	}
	defer func() { _ = os.RemoveAll(c.stagingDir(key)); _ = os.Remove(c.reservation(key)) }() // What can't be removed now is swept later.
	if err := c.reserveDerived(key, size); err != nil {
		return err
	}
	if err := c.fillDerived(key, fill); err != nil {
		return full(err)
	}
	l.touch()
	return nil
}

// reserveDerived makes room for derived files. Only other derived files go for them.
func (c *Cache) reserveDerived(key string, size int64) error {
	global, err := c.globalLock()
	if err != nil {
		return err
	}
	defer global.unlock()
	candidates, err := c.derivedCandidates(derivedRest)
	if err != nil {
		return err
	}
	if err := c.sweep(); err != nil {
		return err
	}
	if err := c.fit(size, max(0, c.config.KeepFree), nil, candidates); err != nil {
		return err
	}
	return os.WriteFile(c.reservation(key), fmt.Append(nil, size), lockMode)
}

// fillDerived makes derived files. They appear in one rename.
func (c *Cache) fillDerived(key string, fill func(dir string) error) error {
	if err := c.noteTry(key); err != nil {
		return fmt.Errorf("model cache: %w", err)
	}
	if err := os.MkdirAll(c.stagingDir(key), dirMode); err != nil {
		return fmt.Errorf("model cache: %w", err)
	}
	if err := fill(c.stagingDir(key)); err != nil {
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			_ = os.Remove(c.triedFile(key)) // The next attempt may find room.
		}
		return err
	}
	if err := sealed(c.stagingDir(key)); err != nil {
		return fmt.Errorf("model cache: %w", err)
	}
	if err := os.Rename(c.stagingDir(key), c.derivedDir(key)); err != nil {
		return fmt.Errorf("model cache: %w", err)
	}
	return errors.Join(os.Remove(c.triedFile(key)), c.forgetLoaded(key))
}

// noteTry counts an attempt, before it may end the process.
func (c *Cache) noteTry(key string) error {
	f, err := os.OpenFile(c.triedFile(key), os.O_WRONLY|os.O_CREATE|os.O_APPEND, lockMode)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte{'x'})
	return errors.Join(err, f.Close())
}

// sealed takes away the permission to change the files in a folder.
func sealed(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range list {
		if err := os.Chmod(filepath.Join(dir, entry.Name()), fileMode); err != nil {
			return err
		}
	}
	return nil
}

// DropDerived throws derived files away that turned out to be no good, unless another
// process has them in use.
func (c *Cache) DropDerived(key string) error {
	global, err := c.globalLock()
	if err != nil {
		return err
	}
	defer global.unlock()
	_, err = c.evictDerived(key)
	return err
}

// evictDerived throws derived files away, unless they are in use. They are renamed first, so
// that no one takes what is left of them for all. The caller has the global lock.
func (c *Cache) evictDerived(key string) (bool, error) {
	l, err := tryLock(c.lockFile(key), exclusive)
	if l == nil || err != nil {
		return false, err
	}
	defer l.unlock()
	err = os.Rename(c.derivedDir(key), c.stagingDir(key))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("model cache: %w", err)
	}
	return true, os.RemoveAll(c.stagingDir(key))
}

// derivedKeys are the keys of derived files, and those of attempts to make some that did not
// end well.
func (c *Cache) derivedKeys() (made, tried []string, err error) {
	list, err := names(c.derived())
	for _, name := range list {
		if key, ok := strings.CutSuffix(name, triedSuffix); ok {
			tried = append(tried, key)
		} else if name != loadedFolder {
			made = append(made, name)
		}
	}
	return made, tried, err
}

// derivedCandidates are the derived files that were not used for so long, 0 for all, by when
// they were used.
func (c *Cache) derivedCandidates(rest time.Duration) ([]func() (bool, error), error) {
	made, _, err := c.derivedKeys()
	if err != nil {
		return nil, err
	}
	var candidates []func() (bool, error)
	for _, key := range c.byUse(made) {
		if rest > 0 && time.Since(c.used(key)) < rest {
			break
		}
		candidates = append(candidates, func() (bool, error) { return c.evictDerived(key) })
	}
	return candidates, nil
}

// forgetTries has what failed tried again. The caller has the global lock.
func (c *Cache) forgetTries() error {
	_, tried, err := c.derivedKeys()
	if err != nil {
		return err
	}
	for _, key := range tried {
		l, err := tryLock(c.lockFile(key), exclusive)
		if err != nil {
			return err
		}
		if l == nil {
			continue // It is being made.
		}
		err = os.Remove(c.triedFile(key))
		l.unlock()
		if err != nil {
			return fmt.Errorf("model cache: %w", err)
		}
	}
	return nil
}

// measureDerived is how many bytes derived files take.
func (c *Cache) measureDerived() (int64, error) {
	made, _, err := c.derivedKeys()
	if err != nil {
		return 0, err
	}
	var size int64
	for _, key := range made {
		files, err := sizes(c.derivedDir(key))
		if errors.Is(err, fs.ErrNotExist) {
			continue // Thrown away a moment ago.
		}
		if err != nil {
			return 0, err
		}
		for _, file := range files {
			size += file.size
		}
	}
	return size, nil
}

// Pinned gives a name of the content of a file that never changes: that of a file of a model
// of the cache. It is "" for any other file.
func (c *Cache) Pinned(file string) string {
	name, err := filepath.Rel(c.path("models"), file)
	if err != nil || !filepath.IsLocal(name) {
		return ""
	}
	return filepath.ToSlash(name)
}
