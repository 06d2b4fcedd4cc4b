// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cache keeps models that were fetched, on a volume that several runners may
// share.
//
// A file is kept once, under the sha256 of its bytes, however many models have it:
//
//	blobs/sha256/HEX     a file, verified; never changed
//	partial/HEX          what has arrived of one so far
//	models/HEX/          a model: model/ has hard links to its files, record.json names them
//	staging/HEX/         a model that is being put together
//	derived/KEY/         what a program made of a model's files, to be quicker the next time
//	derived/loaded/KEY   notes that there was none of it when it was wanted
//	locks/HEX            locked while a model is used (shared) or put together (exclusive)
//
// Whatever is under blobs and models is whole: files get there by a rename after their
// bytes were verified and written to the disk. A process that dies leaves partial and
// staging behind, of which the first is gone on with and the second thrown away.
package cache

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
	"github.com/atelier-dev/atelier/internal/retry"
)

// Config of a Cache.
type Config struct {
	// Dir is the cache's directory. It is made if it is not there.
	Dir string
	// Capacity in bytes that the cache may take; 0 is what the file system has.
	Capacity int64
	// KeepFree is how much of the file system derived files leave free, in percent; 0 is
	// DefaultKeepFree, and less than 0 is nothing.
	KeepFree int64
	// MaxModel bounds the bytes of one model once it is unpacked; 0 is DefaultMaxModel.
	MaxModel int64
	// Tries is how often a blob is asked for while no more of it arrives; 0 is
	// DefaultTries.
	Tries int
	// Backoff is the wait after the first try. It doubles with each, up to half a minute;
	// 0 is DefaultBackoff.
	Backoff time.Duration
	// Stall is how long a server may send nothing; 0 is DefaultStall.
	Stall time.Duration
}

// The values of a Config that says nothing else. The file system may be a node's own, where
// the kubelet evicts pods while less than 10 % is free, or 15 % of one that has images, unless
// it is told otherwise:
// https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#hard-eviction-thresholds
const (
	DefaultKeepFree = 15
	DefaultMaxModel = 256 << 30
	DefaultTries    = 6
	DefaultBackoff  = time.Second
	DefaultStall    = time.Minute
)

// The permissions in the cache: runners of one group may share it.
const (
	dirMode  = 0o775
	fileMode = 0o444
	lockMode = 0o664
)

// Cache is a directory of models. Processes and goroutines may share it.
type Cache struct {
	config Config
}

// Open opens a cache, and makes its directories where they are not there.
func Open(config Config) (*Cache, error) {
	fill(&config.KeepFree, DefaultKeepFree)
	fill(&config.MaxModel, DefaultMaxModel)
	fill(&config.Tries, DefaultTries)
	fill(&config.Backoff, DefaultBackoff)
	fill(&config.Stall, DefaultStall)
	c := &Cache{config: config}
	for _, dir := range []string{c.blobs(), c.path("partial"), c.path("models"), c.path("staging"), c.path("locks"), c.derived()} {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return nil, fmt.Errorf("model cache: %w", err)
		}
	}
	return c, nil
}

// fill sets a field that is 0.
func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Cache) path(elements ...string) string {
	return filepath.Join(append([]string{c.config.Dir}, elements...)...)
}
func (c *Cache) blobs() string                  { return c.path("blobs", "sha256") }
func (c *Cache) blob(sum string) string         { return filepath.Join(c.blobs(), sum) }
func (c *Cache) modelDir(sum string) string     { return c.path("models", sum) }
func (c *Cache) lockFile(sum string) string     { return c.path("locks", sum) }
func (c *Cache) partialFile(sum string) string  { return c.path("partial", sum) }
func (c *Cache) reservation(sum string) string  { return c.path("staging", sum+".reserved") }
func (c *Cache) stagingDir(sum string) string   { return c.path("staging", sum) }
func (c *Cache) modelFiles(sum string) string   { return filepath.Join(c.modelDir(sum), modelFolder) }
func (c *Cache) recordFile(sum string) string   { return filepath.Join(c.modelDir(sum), recordName) }
func (c *Cache) globalLock() (*fileLock, error) { return lock(c.path("lock")) }

// Names in a model's folder.
const (
	modelFolder = "model"
	recordName  = "record.json"
)

// Dir is where the model of a digest is, or would be, in the cache.
func (c *Cache) Dir(digest string) (string, error) {
	sum, err := hexOf(digest)
	if err != nil {
		return "", err
	}
	return c.modelFiles(sum), nil
}

// hexOf gives the hexadecimal digits of a sha256 digest.
func hexOf(digest string) (string, error) {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != 32 || strings.ToLower(sum) != sum {
		return "", fmt.Errorf("digest %q: must be sha256: and 64 hexadecimal digits", digest)
	}
	return sum, nil
}

// Model is a model of the cache in use: it stays until Release.
type Model struct {
	// Dir is the model directory. Nothing in it may be changed.
	Dir    string
	Record Record
	lock   *fileLock
}

// Release lets the cache throw the model away when it needs the room.
func (m *Model) Release() {
	m.lock.touch()
	m.lock.unlock()
}

// Use gives the model of a digest if the cache has it, whole, else nil. It asks no server.
func (c *Cache) Use(ctx context.Context, digest string) (*Model, error) {
	sum, err := hexOf(digest)
	if err != nil {
		return nil, err
	}
	l, err := c.lockWhole(ctx, sum)
	if l == nil || err != nil {
		return nil, err
	}
	record, err := c.whole(sum)
	if record == nil || err != nil {
		l.unlock()
		return nil, err
	}
	l.touch()
	return &Model{Dir: c.modelFiles(sum), Record: *record, lock: l}, nil
}

// lockWhole takes a model into use. It gives nil while there is none: then another process
// puts it together. One that only looks whether it is in use lets go in a moment.
func (c *Cache) lockWhole(ctx context.Context, sum string) (*fileLock, error) {
	for {
		l, err := tryLock(c.lockFile(sum), shared)
		if l != nil || err != nil {
			return l, err
		}
		if _, err := os.Stat(c.recordFile(sum)); err != nil {
			return nil, nil //nolint:nilerr // The model is not there.
		}
		if err := retry.Pause(ctx, lockInterval/10); err != nil {
			return nil, err
		}
	}
}

// whole gives the record of a model that is there with all its files; nil for none, or one
// that was damaged.
func (c *Cache) whole(sum string) (*Record, error) {
	record, err := c.readRecord(sum)
	if err == nil {
		err = c.complete(record)
	}
	var damaged *fetch.VerifyError
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &damaged):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &record, nil
}

// Pull gives a model, and first fetches it where the cache does not have it. With a
// digest it is that very model, else what the remote's reference names now. progress is
// told how many of how many bytes have arrived; processes that want the same model wait
// for the one that fetches it. The error is a *FullError, a *fetch.Error, a
// *fetch.VerifyError, a *modelstore.ModelError or one of the file system's.
func (c *Cache) Pull(ctx context.Context, remote fetch.Remote, digest string, progress func(done, total int64)) (*Model, error) {
	if digest != "" {
		if m, err := c.Use(ctx, digest); m != nil || err != nil {
			return m, err
		}
	}
	manifest, err := c.Resolve(ctx, remote, digest)
	if err != nil {
		return nil, err
	}
	return c.Fetch(ctx, remote, manifest, progress)
}

// maxFetched bounds how often a model is fetched that others throw away before it is used.
const maxFetched = 3

// Fetch is Pull for a model of which is known what it consists of.
func (c *Cache) Fetch(ctx context.Context, remote fetch.Remote, manifest fetch.Manifest, progress func(done, total int64)) (*Model, error) {
	sum, err := hexOf(manifest.Digest)
	if err != nil {
		return nil, &fetch.Error{Source: remote.String(), Err: err}
	}
	for fetched := 0; ; {
		if m, err := c.Use(ctx, manifest.Digest); m != nil || err != nil {
			return m, err
		}
		if fetched == maxFetched {
			return nil, fmt.Errorf("model cache: %s was fetched %d times, and was gone or damaged each time", manifest.Digest, fetched)
		}
		l, err := tryLock(c.lockFile(sum), exclusive)
		if err != nil {
			return nil, err
		}
		if l != nil {
			record, err := c.whole(sum)
			if record == nil && err == nil {
				err = c.populate(ctx, remote, manifest, progress)
				fetched++
			}
			l.touch()
			l.unlock()
			if err != nil {
				return nil, err
			}
			continue
		}
		progress(c.arrived(manifest), manifest.Size())
		if err := retry.Pause(ctx, lockInterval); err != nil {
			return nil, err
		}
	}
}

// Resolve reads what a model consists of, and tries again where that may help.
func (c *Cache) Resolve(ctx context.Context, remote fetch.Remote, digest string) (manifest fetch.Manifest, err error) {
	err = c.retry(ctx, func() error {
		manifest, err = remote.Resolve(ctx, digest)
		return err
	})
	return manifest, err
}

// arrived is how many bytes of a model's blobs are in the cache.
func (c *Cache) arrived(manifest fetch.Manifest) int64 {
	var size int64
	for _, blob := range manifest.Blobs {
		sum := strings.TrimPrefix(blob.Digest, "sha256:")
		info, err := os.Stat(c.blob(sum))
		if err != nil {
			info, err = os.Stat(c.partialFile(sum))
		}
		if err == nil {
			size += info.Size()
		}
	}
	return size
}
