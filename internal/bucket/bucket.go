// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bucket writes pictures to buckets of object stores, and reads models from them:
// S3 and what speaks its language, Google Cloud Storage and Azure Blob Storage.
package bucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
)

// headerTimeout bounds the wait for an answer to a request that was sent.
const headerTimeout = 30 * time.Second

// idleTimeout is how long a connection is kept for the next picture.
const idleTimeout = 10 * time.Second

// leastRate, in bytes per second, is how slow a store may be that is still waited for.
const leastRate = 256 << 10

// minPart is the least size of a part that the library takes.
const minPart = 5 << 20

// Config names a bucket and how it is reached.
type Config struct {
	// URL of the bucket, with the prefix of all keys: s3://bucket, gs://bucket/prefix or
	// azblob://container/prefix.
	URL string
	// Endpoint of a store that is not the cloud's own, such as https://minio.example:9000.
	// For azblob it is that of the account, such as https://account.blob.core.windows.net.
	Endpoint string
	// Region of the bucket; S3 only.
	Region string
	// PathStyle puts the bucket's name into the path rather than the host's name; S3 only.
	PathStyle bool
	// CredentialsDir has a file for each part of the credentials. "" finds them in the
	// surroundings: environment, workload identity, instance metadata.
	CredentialsDir string
	// Anonymous sends no credentials, wherever there are some.
	Anonymous bool
}

// kind is what the stores of a scheme have in common.
type kind struct {
	// keys of the Secret with the credentials.
	keys []string
	open func(ctx context.Context, c Config, name string, s secret) (*blob.Bucket, error)
	// put writes an object in one request: it is there or it is not.
	put func(ctx context.Context, b *blob.Bucket, key, contentType, sum string, data []byte) error
	// answer gives the status and the code of the store's answer that an error is about;
	// 0 where it gave none.
	answer func(err error) (status int, code string)
}

// kinds of stores by their schemes.
var kinds = map[string]kind{"s3": s3Kind, "gs": gcsKind, "azblob": azureKind}

// Object is what was written.
type Object struct {
	// URL of the object, such as s3://bucket/prefix/studio/apple/0.png.
	URL string
	// SHA256 in hexadecimal.
	SHA256    string
	SizeBytes int64
}

// Bucket gives and takes objects. One goroutine at a time may write; any number may read.
type Bucket struct {
	config Config
	scheme string
	name   string
	prefix string
	secret secret
	blob   *blob.Bucket
}

// Open makes ready to use a bucket. It asks no server, but finds out whether the
// credentials are there. Close must be called.
func Open(ctx context.Context, c Config) (*Bucket, error) {
	b := &Bucket{config: c}
	var err error
	if b.scheme, b.name, b.prefix, err = parse(c.URL); err != nil {
		return nil, err
	}
	if b.secret, err = b.readSecret(); err != nil {
		return nil, err
	}
	b.blob, err = kinds[b.scheme].open(ctx, c, b.name, b.secret)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.URL, err)
	}
	return b, nil
}

// Close ends the use of the bucket. Its connections end by themselves soon after.
func (b *Bucket) Close() error { return b.blob.Close() }

// readSecret reads the credentials; nil where they are to be found in the surroundings.
func (b *Bucket) readSecret() (secret, error) {
	if b.config.CredentialsDir == "" || b.config.Anonymous {
		return nil, nil
	}
	return readSecret(b.config.CredentialsDir, kinds[b.scheme].keys)
}

// renew opens the bucket again where its Secret was renewed, which is written to the same
// files.
func (b *Bucket) renew(ctx context.Context) error {
	now, err := b.readSecret()
	if err != nil || maps.Equal(now, b.secret) {
		return err
	}
	opened, err := kinds[b.scheme].open(ctx, b.config, b.name, now)
	if err != nil {
		return err
	}
	old := b.blob
	b.secret, b.blob = now, opened
	return old.Close()
}

// Put writes an object, or replaces the one of that key. A reader finds the whole old
// object, the whole new one or none. retry says how long to try. The error is an *Error.
func (b *Bucket) Put(ctx context.Context, key, contentType string, data []byte, retry Retry) (Object, error) {
	sum := sha256.Sum256(data)
	object := Object{URL: b.url(key), SHA256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(data))}
	err := retry.do(ctx, func() error {
		err := b.renew(ctx)
		if err == nil {
			err = b.put(ctx, key, contentType, object.SHA256, data)
		}
		if err != nil {
			return b.explain(writing, object.URL, err)
		}
		return nil
	})
	return object, err
}

// put tries once.
func (b *Bucket) put(ctx context.Context, key, contentType, sum string, data []byte) error {
	limit := headerTimeout + time.Duration(len(data)/leastRate)*time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &slowError{limit: limit})
	defer cancel()
	err := kinds[b.scheme].put(ctx, b.blob, b.key(key), contentType, sum, data)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// metadataSum is under which the metadata of an object has its sha256.
const metadataSum = "sha256"

// upload is the put of kinds that have no reason for one of their own.
func upload(ctx context.Context, b *blob.Bucket, key, contentType, sum string, data []byte) error {
	return b.Upload(ctx, key, bytes.NewReader(data), &blob.WriterOptions{
		ContentType: contentType,
		Metadata:    map[string]string{metadataSum: sum},
		// More than there is, so that it does not become an upload in parts.
		BufferSize:                  max(minPart, len(data)+1),
		MaxConcurrency:              1,
		DisableContentTypeDetection: true,
	})
}

// Size is the size of an object in bytes. The error is an *Error.
func (b *Bucket) Size(ctx context.Context, key string) (int64, error) {
	attributes, err := b.blob.Attributes(ctx, b.key(key))
	if err != nil {
		return 0, b.explain(reading, b.url(key), err)
	}
	return attributes.Size, nil
}

// Read gives an object's bytes from an offset on. The error is an *Error.
func (b *Bucket) Read(ctx context.Context, key string, offset int64) (io.ReadCloser, error) {
	body, err := b.blob.NewRangeReader(ctx, b.key(key), offset, -1, nil)
	if err != nil {
		return nil, b.explain(reading, b.url(key), err)
	}
	return body, nil
}

// key is where an object is in the bucket.
func (b *Bucket) key(key string) string { return path.Join(b.prefix, key) }

// url names an object.
func (b *Bucket) url(key string) string { return b.scheme + "://" + b.name + "/" + b.key(key) }

// parse takes a bucket's URL apart.
func parse(address string) (scheme, name, prefix string, err error) {
	u, err := url.Parse(address)
	if err == nil && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" {
		if _, known := kinds[u.Scheme]; known {
			return u.Scheme, u.Host, strings.Trim(u.Path, "/"), nil
		}
	}
	return "", "", "", fmt.Errorf("store URL %q: must be one of %s, a bucket and a prefix, such as s3://bucket/prefix", address, strings.Join(schemes(), ", "))
}

// schemes are the beginnings of the URLs that name a bucket.
func schemes() []string {
	list := slices.Sorted(maps.Keys(kinds))
	for i := range list {
		list[i] += "://"
	}
	return list
}

// HasScheme reports whether an address names a bucket.
func HasScheme(address string) bool {
	return slices.ContainsFunc(schemes(), func(scheme string) bool { return strings.HasPrefix(address, scheme) })
}

// IsTemporary reports whether trying again in a moment may help.
func IsTemporary(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Temporary
}

// newClient makes a client that waits neither for a connection nor for an answer for ever.
func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = headerTimeout
	transport.IdleConnTimeout = idleTimeout
	return &http.Client{Transport: transport}
}
