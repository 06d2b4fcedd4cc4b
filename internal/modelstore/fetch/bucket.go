// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/atelier-dev/atelier/internal/bucket"
	"github.com/atelier-dev/atelier/internal/modelstore"
)

// SumsFile lists the files of a model in a bucket, as sha256sum writes it. Its own sha256
// names the model.
const SumsFile = "SHA256SUMS"

// maxSums bounds the files of a model in a bucket: those known have a few dozen.
const maxSums = 1000

// parallelSizes is how many objects are asked for their size at a time.
const parallelSizes = 8

// Bucket is a model that is a folder of a bucket, with SumsFile in it.
type Bucket struct {
	config bucket.Config
	pinned string
}

// NewBucket takes where the folder is and, where it is known, the sha256 of its SumsFile in
// hexadecimal. Credentials are read anew for each request, as a Secret that is renewed is
// written to the same files.
func NewBucket(config bucket.Config, sha256 string) (*Bucket, error) {
	b := &Bucket{config: config}
	if sha256 == "" {
		return b, nil
	}
	sum := digest.NewDigestFromEncoded(digest.SHA256, strings.ToLower(sha256))
	if err := sum.Validate(); err != nil {
		return nil, fmt.Errorf("sha256 %q: must be 64 hexadecimal digits", sha256)
	}
	b.pinned = sum.String()
	return b, nil
}

// String gives the folder's URL.
func (b *Bucket) String() string { return b.config.URL }

// Resolve reads the list of files and asks how large each of them is. The list can't be had
// by its digest, as it is replaced in its place: one that is not the wanted one any more is
// a *VerifyError.
func (b *Bucket) Resolve(ctx context.Context, wanted string) (Manifest, error) {
	opened, err := b.open(ctx)
	if err != nil {
		return Manifest{}, err
	}
	defer func() { _ = opened.Close() }() // Only read from.
	data, err := b.readSums(ctx, opened)
	if err != nil {
		return Manifest{}, err
	}
	got := digest.FromBytes(data).String()
	for _, want := range []string{wanted, b.pinned} {
		if want != "" && want != got {
			return Manifest{}, &VerifyError{Source: b.file(SumsFile), Want: want, Got: got}
		}
	}
	blobs, err := parseSums(data)
	if err != nil {
		return Manifest{}, &modelstore.ModelError{File: b.file(SumsFile), Message: err.Error(), Err: err}
	}
	return Manifest{Digest: got, Blobs: blobs}, b.measure(ctx, opened, blobs)
}

// Open gives a file's bytes.
func (b *Bucket) Open(ctx context.Context, blob Blob, offset int64) (io.ReadCloser, int64, error) {
	opened, err := b.open(ctx)
	if err != nil {
		return nil, 0, err
	}
	body, err := opened.Read(ctx, blob.Path, offset)
	if err != nil {
		_ = opened.Close() // Only read from.
		return nil, 0, b.failed(err)
	}
	return &object{ReadCloser: body, bucket: opened}, offset, nil
}

// object is the body of one, which has its bucket to itself.
type object struct {
	io.ReadCloser
	bucket *bucket.Bucket
}

func (o *object) Close() error { return errors.Join(o.ReadCloser.Close(), o.bucket.Close()) }

func (b *Bucket) open(ctx context.Context) (*bucket.Bucket, error) {
	opened, err := bucket.Open(ctx, b.config)
	if err != nil {
		return nil, &Error{Source: b.String(), Err: err}
	}
	return opened, nil
}

// file names a file of the model in messages.
func (b *Bucket) file(name string) string { return strings.TrimSuffix(b.config.URL, "/") + "/" + name }

// failed says what an error of the store means.
func (b *Bucket) failed(err error) error {
	return &Error{Source: b.String(), Temporary: bucket.IsTemporary(err), Err: err}
}

// readSums reads the list of files.
func (b *Bucket) readSums(ctx context.Context, opened *bucket.Bucket) ([]byte, error) {
	body, err := opened.Read(ctx, SumsFile, 0)
	if known, ok := errors.AsType[*bucket.Error](err); ok && known.Code == bucket.CodeNoSuchKey {
		return nil, &Error{Source: b.String(), Err: fmt.Errorf("%w: a model in a bucket needs a list of its files, which sha256sum makes", known)}
	}
	if err != nil {
		return nil, b.failed(err)
	}
	defer func() { _ = body.Close() }() // Only read from.
	data, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	switch {
	case err != nil:
		return nil, &Error{Source: b.String(), Temporary: true, Err: fmt.Errorf("%s: %w", SumsFile, err)}
	case len(data) > maxManifest:
		return nil, &Error{Source: b.String(), Err: fmt.Errorf("%s has more than %d bytes", SumsFile, maxManifest)}
	}
	return data, nil
}

// measure fills in how large the files are.
func (b *Bucket) measure(ctx context.Context, opened *bucket.Bucket, blobs []Blob) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelSizes)
	for i := range blobs {
		group.Go(func() (err error) {
			if blobs[i].Size, err = opened.Size(ctx, blobs[i].Path); err != nil {
				return b.failed(err)
			}
			return nil
		})
	}
	return group.Wait()
}

// parseSums reads lines as sha256sum writes them: the sha256 in hexadecimal, a space, a space
// or an asterisk, and the path.
func parseSums(data []byte) ([]Blob, error) {
	var blobs []Blob
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" {
			continue
		}
		sum, name, found := strings.Cut(line, " ")
		raw, err := hex.DecodeString(sum)
		if !found || err != nil || len(raw) != digest.SHA256.Size() || name == "" || !strings.ContainsRune(" *", rune(name[0])) {
			return nil, fmt.Errorf("line %d: must be a sha256 of 64 hexadecimal digits, two spaces and a path", n)
		}
		if name = name[1:]; !filepath.IsLocal(name) || path.Clean(name) == "." {
			return nil, fmt.Errorf("line %d: the path %q must be below the folder", n, name)
		}
		if len(blobs) == maxSums {
			return nil, fmt.Errorf("line %d: at most %d files are read", n, maxSums)
		}
		blobs = append(blobs, Blob{Digest: digest.NewDigestFromBytes(digest.SHA256, raw).String(), Size: -1, Path: path.Clean(name)})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(blobs) == 0 {
		return nil, errors.New("has no lines; must have one for each file of the model")
	}
	return blobs, nil
}
