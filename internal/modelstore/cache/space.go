// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// FullError says that a model does not fit. Another try may help once models that are in
// use now are not any more.
type FullError struct {
	// Need is how many bytes more were wanted, Used how many are taken or promised,
	// and Limit how many there can be: the capacity, or what the file system has.
	Need, Used, Limit int64
	// KeepFree is how many bytes of the file system are to stay free beside Limit, where
	// there could be more else.
	KeepFree int64
	// InUse are the models that can't be thrown away, as a process has them.
	InUse int
	Err   error
}

func (e *FullError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("the model cache is full: %v", e.Err)
	}
	message := fmt.Sprintf("the model cache is full: %d bytes more are needed, and %d of %d are taken, with %d models in use or being fetched", e.Need, e.Used, e.Limit, e.InUse)
	if e.KeepFree > 0 {
		message += fmt.Sprintf("; %d bytes of the file system are to stay free", e.KeepFree)
	}
	return message
}

// Unwrap gives the cause.
func (e *FullError) Unwrap() error { return e.Err }

// full makes a FullError of what the file system says when it is full.
func full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &FullError{Err: err}
	}
	return err
}

// space is what the cache takes.
type space struct {
	// stored bytes are on the disk; promised ones may yet get there.
	stored, promised int64
}

// measure adds up what the cache takes, apart from what has arrived of the blobs that
// the caller is about to reserve. A partial file that a process is writing to is part of
// what that process has reserved.
func (c *Cache) measure(own map[string]bool) (space, error) {
	var s space
	blobs, err := sizes(c.blobs())
	if err != nil {
		return s, err
	}
	for _, blob := range blobs {
		s.stored += blob.size
	}
	partials, err := sizes(c.path("partial"))
	if err != nil {
		return s, err
	}
	for _, partial := range partials {
		if own[partial.name] {
			continue
		}
		l, err := tryLock(c.partialFile(partial.name), exclusive)
		if err != nil {
			return s, err
		}
		if l != nil {
			l.unlock()
			s.stored += partial.size
		}
	}
	derived, err := c.measureDerived()
	if err != nil {
		return s, err
	}
	s.stored += derived
	staged, err := names(c.path("staging"))
	if err != nil {
		return s, err
	}
	for _, name := range staged {
		if strings.HasSuffix(name, ".reserved") {
			s.promised += c.reserved(name)
		}
	}
	return s, nil
}

// sized is a file and its size.
type sized struct {
	name string
	size int64
	// links is the number of names that the file has.
	links uint64
}

// sizes lists the files in a directory.
func sizes(dir string) ([]sized, error) {
	list, err := names(dir)
	if err != nil {
		return nil, err
	}
	files := make([]sized, 0, len(list))
	for _, name := range list {
		var stat unix.Stat_t
		if err := unix.Stat(dir+"/"+name, &stat); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, fmt.Errorf("model cache: %s: %w", name, err)
		}
		files = append(files, sized{name: name, size: stat.Size, links: uint64(stat.Nlink)}) //nolint:unconvert // It is an uint32 on arm64.
	}
	return files, nil
}

// reserved is how many bytes a reservation is for. One that can't be read is for none.
func (c *Cache) reserved(name string) int64 {
	data, err := os.ReadFile(c.path("staging", name))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// makeRoom throws away what nobody uses, the longest unused first, until need bytes
// more fit. The caller has the global lock.
func (c *Cache) makeRoom(need int64, own map[string]bool) error {
	if err := c.sweep(); err != nil {
		return err
	}
	candidates, err := c.candidates(own)
	if err != nil {
		return err
	}
	return c.fit(need, 0, own, candidates)
}

// fit throws candidates away until need bytes more fit, and free percent of the file system
// stay free.
func (c *Cache) fit(need, free int64, own map[string]bool, candidates []func() (bool, error)) error {
	inUse := 0
	for {
		s, err := c.measure(own)
		if err != nil {
			return err
		}
		var stat unix.Statfs_t
		if err := unix.Statfs(c.config.Dir, &stat); err != nil {
			return fmt.Errorf("model cache: %s: %w", c.config.Dir, err)
		}
		used := s.stored + s.promised
		limit, kept := c.config.limit(s.stored, int64(stat.Bavail)*stat.Bsize, int64(stat.Blocks)*stat.Bsize/100*free)
		if used+need <= limit {
			return nil
		}
		// What could never fit throws nothing away.
		if len(candidates) == 0 || s.promised+need > limit {
			return &FullError{Need: need, Used: used, Limit: limit, KeepFree: kept, InUse: inUse}
		}
		gone, err := candidates[0]()
		if err != nil {
			return err
		}
		if !gone {
			inUse++
		}
		candidates = candidates[1:]
	}
}

// limit is how much there can be, where so much is stored and so much of the file system is
// available, of which some is to stay free. kept is that, where there could be more else.
func (c Config) limit(stored, available, free int64) (limit, kept int64) {
	limit = max(0, stored+available-free)
	if c.Capacity > 0 && c.Capacity <= limit {
		return c.Capacity, 0
	}
	return limit, free
}

// InMemory says that the cache is in memory, as an emptyDir of that medium is: what it takes
// is then taken from the memory that its processes can have.
func (c *Cache) InMemory() bool {
	var stat unix.Statfs_t
	return unix.Statfs(c.config.Dir, &stat) == nil && stat.Type == unix.TMPFS_MAGIC
}

// candidates are what can be thrown away, in this order: what has arrived of files that
// nobody fetches any more, what was made of models, then models, by when they were used.
// Each says whether it went.
func (c *Cache) candidates(own map[string]bool) ([]func() (bool, error), error) {
	var list []func() (bool, error)
	partials, err := names(c.path("partial"))
	if err != nil {
		return nil, err
	}
	for _, name := range partials {
		if !own[name] {
			list = append(list, func() (bool, error) { return c.dropPartial(name) })
		}
	}
	derived, err := c.derivedCandidates(0)
	if err != nil {
		return nil, err
	}
	list = append(list, derived...)
	models, err := names(c.path("models"))
	if err != nil {
		return nil, err
	}
	for _, sum := range c.byUse(models) {
		list = append(list, func() (bool, error) { return c.evict(sum) })
	}
	return list, nil
}

// byUse sorts models by when they were used, the longest unused first.
func (c *Cache) byUse(sums []string) []string {
	slices.SortFunc(sums, func(a, b string) int { return c.used(a).Compare(c.used(b)) })
	return sums
}

// dropPartial removes what has arrived of a file, unless a process is at it.
func (c *Cache) dropPartial(name string) (bool, error) {
	l, err := tryLock(c.partialFile(name), exclusive)
	if l == nil || err != nil {
		return false, err
	}
	defer l.unlock()
	return true, os.Remove(c.partialFile(name))
}

// evict throws a model away, unless it is in use, and the files that no other model has.
// The caller has the global lock.
func (c *Cache) evict(sum string) (bool, error) {
	l, err := tryLock(c.lockFile(sum), exclusive)
	if l == nil || err != nil {
		return false, err
	}
	defer l.unlock()
	return true, errors.Join(c.remove(sum), c.collect())
}

// remove takes a model's folder away. It is renamed first, so that no one takes what is
// left of it for a model. The caller has the model's lock.
func (c *Cache) remove(sum string) error {
	if err := os.RemoveAll(c.stagingDir(sum)); err != nil {
		return fmt.Errorf("model cache: %w", err)
	}
	err := os.Rename(c.modelDir(sum), c.stagingDir(sum))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("model cache: %w", err)
	}
	return os.RemoveAll(c.stagingDir(sum))
}

// collect removes the files that no model has: those with one name left.
func (c *Cache) collect() error {
	blobs, err := sizes(c.blobs())
	if err != nil {
		return err
	}
	for _, blob := range blobs {
		if blob.links <= 1 {
			if err := os.Remove(c.blob(blob.name)); err != nil {
				return fmt.Errorf("model cache: %w", err)
			}
		}
	}
	return nil
}

// sweep removes what processes left in staging that ended before they were done. The
// caller has the global lock.
func (c *Cache) sweep() error {
	staged, err := names(c.path("staging"))
	if err != nil {
		return err
	}
	for _, name := range staged {
		sum := strings.TrimSuffix(name, ".reserved")
		l, err := tryLock(c.lockFile(sum), exclusive)
		if err != nil {
			return err
		}
		if l == nil {
			continue
		}
		err = errors.Join(os.RemoveAll(c.stagingDir(sum)), os.RemoveAll(c.reservation(sum)))
		l.unlock()
		if err != nil {
			return fmt.Errorf("model cache: %w", err)
		}
	}
	return c.collect()
}

// Prune throws away models that nobody uses, the longest unused first, until the cache
// takes at most keep bytes, and everything that was left unfinished. It gives what the
// cache takes then.
func (c *Cache) Prune(keep int64) (int64, error) {
	l, err := c.globalLock()
	if err != nil {
		return 0, err
	}
	defer l.unlock()
	if err := errors.Join(c.sweep(), c.forgetTries(), c.boundLoaded(0)); err != nil {
		return 0, err
	}
	candidates, err := c.candidates(nil)
	if err != nil {
		return 0, err
	}
	for {
		s, err := c.measure(nil)
		if err != nil || s.stored <= keep || len(candidates) == 0 {
			return s.stored, err
		}
		if _, err := candidates[0](); err != nil {
			return s.stored, err
		}
		candidates = candidates[1:]
	}
}
