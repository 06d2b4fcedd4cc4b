// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
	"github.com/atelier-dev/atelier/internal/retry"
)

// errStalled is why a body ends that stopped coming.
var errStalled = errors.New("the server sent nothing for too long")

// retry tries until it works, the error will stay, or there were enough tries.
func (c *Cache) retry(ctx context.Context, do func() error) error {
	tries := 0
	return retry.Do(ctx, c.config.Backoff, do, func(err error, _ time.Duration) bool {
		tries++
		return tries < c.config.Tries && fetch.IsTemporary(err)
	})
}

// lockPartial opens what has arrived of a blob, and waits while another process is at it.
func (c *Cache) lockPartial(ctx context.Context, sum string) (*fileLock, error) {
	for {
		l, err := tryLock(c.partialFile(sum), exclusive)
		if err != nil {
			return nil, err
		}
		if l != nil {
			// Whoever had the lock may have moved the file away.
			if named, err := os.Stat(c.partialFile(sum)); err == nil {
				if open, err := l.file.Stat(); err == nil && os.SameFile(named, open) {
					return l, nil
				}
			}
			l.unlock()
			continue
		}
		if err := retry.Pause(ctx, lockInterval); err != nil {
			return nil, err
		}
	}
}

// download brings the whole of a blob into its partial file, verified and on the disk.
// It goes on where an earlier download stopped. Bytes that turn out to be wrong are
// thrown away and asked for once more: they may have been damaged on their way.
func (s *stage) download(ctx context.Context, partial *fileLock, blob fetch.Blob) error {
	for again := true; ; again = false {
		d := &download{stage: s, blob: blob, file: partial.file}
		err := s.resume(ctx, d)
		if err == nil {
			err = d.verify()
		}
		if _, ok := errors.AsType[*fetch.VerifyError](err); !ok {
			return err
		}
		if resetErr := d.reset(); resetErr != nil || !again {
			return errors.Join(err, resetErr)
		}
	}
}

// resume asks for what is missing until all is there. Each time more arrives the tries
// begin anew, so that the server may cut a large file into many pieces.
func (s *stage) resume(ctx context.Context, d *download) error {
	if err := d.rehash(); err != nil {
		return err
	}
	for {
		before := d.size
		err := s.retry(ctx, func() error {
			err := d.body(ctx)
			if d.size > before && fetch.IsTemporary(err) {
				return nil // Not done, but closer.
			}
			return err
		})
		if err != nil || d.done {
			return err
		}
		if err := retry.Pause(ctx, s.config.Backoff); err != nil {
			return err
		}
	}
}

// download is the state of one.
type download struct {
	*stage
	blob fetch.Blob
	file *os.File
	// size is how much has arrived, and hash its hash so far.
	size int64
	hash hasher
	done bool
}

// hasher is the part of hash.Hash that is used.
type hasher interface {
	io.Writer
	Sum(b []byte) []byte
}

// rehash reads what an earlier download left.
func (d *download) rehash() error {
	d.hash = sha256.New()
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	size, err := io.Copy(d.hash, d.file)
	if err != nil {
		return err
	}
	if d.blob.Size >= 0 && size > d.blob.Size {
		return d.reset()
	}
	if d.blob.Size < 0 {
		if err := d.grow(size); err != nil {
			return err
		}
	}
	d.size, d.done = size, size == d.blob.Size
	d.come(size)
	return nil
}

// reset throws away what has arrived.
func (d *download) reset() error {
	d.come(-d.size)
	d.size, d.done, d.hash = 0, false, sha256.New()
	if err := d.file.Truncate(0); err != nil {
		return err
	}
	_, err := d.file.Seek(0, io.SeekStart)
	return err
}

// body reads one answer of the server, from where the last one ended.
func (d *download) body(ctx context.Context) error {
	if d.done {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, from, err := d.remote.Open(ctx, d.blob, d.size)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // Only read from.
	if from != d.size {
		if err := d.reset(); err != nil {
			return err
		}
	}
	watchdog := time.AfterFunc(d.config.Stall, func() { cancel(errStalled) })
	defer watchdog.Stop()
	buffer := make([]byte, 1<<20)
	for {
		n, readErr := body.Read(buffer)
		watchdog.Reset(d.config.Stall)
		if err := d.take(buffer[:n]); err != nil {
			return err
		}
		if readErr == nil {
			continue
		}
		if errors.Is(readErr, io.EOF) && (d.blob.Size < 0 || d.size == d.blob.Size) {
			d.done = true
			return nil
		}
		return d.broken(ctx, readErr)
	}
}

// broken says why an answer ended too soon.
func (d *download) broken(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errStalled) {
		return cause
	} else if cause != nil {
		err = cause
	}
	return &fetch.Error{Source: d.remote.String(), Temporary: true, Err: fmt.Errorf("after %d of %d bytes: %w", d.size, d.blob.Size, err)}
}

// take writes bytes that have arrived.
func (d *download) take(p []byte) error {
	n := int64(len(p))
	if d.blob.Size < 0 {
		if err := d.grow(n); err != nil {
			return err
		}
	} else if d.size+n > d.blob.Size {
		return &fetch.VerifyError{Source: d.remote.String(), Want: d.blob.Digest, Got: fmt.Sprintf("that of more than %d bytes", d.blob.Size)}
	}
	if _, err := d.file.Write(p); err != nil {
		return err
	}
	_, _ = d.hash.Write(p) // Never fails.
	d.size += n
	d.come(n)
	return nil
}

// verify compares the digest, and has the disk keep the bytes.
func (d *download) verify() error {
	if got := "sha256:" + hex.EncodeToString(d.hash.Sum(nil)); got != d.blob.Digest {
		return &fetch.VerifyError{Source: d.remote.String(), Want: d.blob.Digest, Got: got}
	}
	return d.file.Sync()
}
