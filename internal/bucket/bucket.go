// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bucket writes pictures to buckets of object stores: S3 and what speaks its
// language.
package bucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

// Scheme of the URLs that name a bucket.
const Scheme = "s3"

// endpointRegion is signed where a store with an endpoint of its own names no region, as
// MinIO and Ceph expect it.
const endpointRegion = "us-east-1"

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
	// URL of the bucket, with the prefix of all keys: s3://bucket or s3://bucket/prefix.
	URL string
	// Endpoint of a store that is not Amazon's, such as https://minio.example:9000.
	Endpoint string
	// Region of the bucket.
	Region string
	// PathStyle puts the bucket's name into the path rather than the host's name.
	PathStyle bool
	// CredentialsDir has a file for each part of the credentials. "" finds them in the
	// surroundings: environment, workload identity, instance metadata.
	CredentialsDir string
}

// Object is what was written.
type Object struct {
	// URL of the object, such as s3://bucket/prefix/studio/apple/0.png.
	URL string
	// SHA256 in hexadecimal.
	SHA256    string
	SizeBytes int64
}

// Bucket takes objects. One goroutine at a time may use it.
type Bucket struct {
	config Config
	name   string
	prefix string
	blob   *blob.Bucket
}

// Open makes ready to write to a bucket. It asks no server, but finds out whether the
// credentials are there. Close must be called.
func Open(ctx context.Context, c Config) (*Bucket, error) {
	name, prefix, err := parse(c.URL)
	if err != nil {
		return nil, err
	}
	b := &Bucket{config: c, name: name, prefix: prefix}
	options := []func(*config.LoadOptions) error{
		// One retry loop is enough, and ours knows when to end.
		config.WithRetryMaxAttempts(1),
		config.WithHTTPClient(newClient()),
		// Of a body whose checksum nobody asked for the signature has the sha256, which
		// stores compare that know no newer checksums.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
	}
	switch {
	case c.Region != "":
		options = append(options, config.WithRegion(c.Region))
	case c.Endpoint != "":
		options = append(options, config.WithRegion(endpointRegion))
	}
	if c.CredentialsDir != "" {
		files := secretFiles(c.CredentialsDir)
		if _, err := files.Retrieve(ctx); err != nil {
			return nil, err
		}
		options = append(options, config.WithCredentialsProvider(files))
	}
	sdk, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.URL, err)
	}
	client := s3.NewFromConfig(sdk, func(o *s3.Options) {
		o.UsePathStyle = c.PathStyle
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
		}
	})
	b.blob, err = s3blob.OpenBucket(ctx, client, name, &s3blob.Options{RequestChecksumCalculation: sdk.RequestChecksumCalculation})
	return b, err
}

// Close ends the use of the bucket. Its connections end by themselves soon after.
func (b *Bucket) Close() error { return b.blob.Close() }

// Put writes an object, or replaces the one of that key. A reader finds the whole old
// object, the whole new one or none. retry says how long to try. The error is an *Error.
func (b *Bucket) Put(ctx context.Context, key, contentType string, data []byte, retry Retry) (Object, error) {
	key = path.Join(b.prefix, key)
	sum := sha256.Sum256(data)
	object := Object{URL: Scheme + "://" + b.name + "/" + key, SHA256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(data))}
	err := retry.do(ctx, func() error {
		err := b.put(ctx, key, data, &blob.WriterOptions{
			ContentType: contentType,
			Metadata:    map[string]string{"sha256": object.SHA256},
			// In one request: the object is there or it is not.
			BufferSize:                  max(minPart, len(data)+1),
			MaxConcurrency:              1,
			DisableContentTypeDetection: true,
		})
		if err != nil {
			return b.explain(object.URL, err)
		}
		return nil
	})
	return object, err
}

// put tries once.
func (b *Bucket) put(ctx context.Context, key string, data []byte, options *blob.WriterOptions) error {
	limit := headerTimeout + time.Duration(len(data)/leastRate)*time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &slowError{limit: limit})
	defer cancel()
	err := b.blob.Upload(ctx, key, bytes.NewReader(data), options)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// parse takes a bucket's URL apart.
func parse(address string) (name, prefix string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != Scheme || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "", fmt.Errorf("store URL %q: must be like s3://bucket/prefix", address)
	}
	return u.Host, strings.Trim(u.Path, "/"), nil
}

// newClient makes a client that waits neither for a connection nor for an answer for ever.
func newClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = headerTimeout / 3 }).
		WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout = headerTimeout
			t.IdleConnTimeout = idleTimeout
		})
}
