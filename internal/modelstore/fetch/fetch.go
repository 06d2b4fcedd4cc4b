// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fetch reads models from where they are published: registries of OCI artifacts
// and web servers.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Remote is one published model.
type Remote interface {
	// Resolve says what the model consists of. With a digest it is that very model;
	// with none it is what the reference names now.
	Resolve(ctx context.Context, digest string) (Manifest, error)
	// Open gives a blob's bytes from an offset on, and the offset at which they do
	// begin: 0 where the server can't go on in the middle. Nothing is verified.
	Open(ctx context.Context, blob Blob, offset int64) (body io.ReadCloser, from int64, err error)
	// String names the model in messages, without credentials.
	String() string
}

// Manifest says what a model consists of.
type Manifest struct {
	// Digest that names these very bytes, such as sha256:ab12…
	Digest string
	// Blobs in the order in which they are unpacked.
	Blobs []Blob
}

// Size is the number of bytes of all blobs whose size is known.
func (m Manifest) Size() int64 {
	var size int64
	for _, blob := range m.Blobs {
		size += max(blob.Size, 0)
	}
	return size
}

// Blob is one file or archive of a model.
type Blob struct {
	// Digest of the bytes, such as sha256:ab12…
	Digest string
	// Size in bytes, -1 where it is not known.
	Size int64
	// Path of the file in the model directory. An archive has the paths in it.
	Path string
	// Archive says that the blob is to be unpacked: a tar file, compressed or not, or
	// a zip file. Its first bytes tell which.
	Archive bool
}

// Error says that a model could not be had from where it is published. Another try may
// help, be it after someone mends a reference or a credential.
type Error struct {
	// Source is the model that was asked for.
	Source string
	// Temporary says that the same request may well be answered in a moment.
	Temporary bool
	Err       error
}

func (e *Error) Error() string { return e.Source + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// IsTemporary reports whether asking again in a moment may help.
func IsTemporary(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Temporary
}

// VerifyError says that a server gave other bytes than the ones that were asked for.
type VerifyError struct {
	// Source is the model or the file.
	Source string
	// Want and Got are digests.
	Want, Got string
}

func (e *VerifyError) Error() string {
	return fmt.Sprintf("%s: the digest is %s; must be %s", e.Source, e.Got, e.Want)
}

// headerTimeout bounds the wait for the beginning of an answer.
const headerTimeout = 30 * time.Second

// newClient makes a client that waits neither for a connection nor for an answer for ever.
// How long a body may take is for its reader to say.
func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = headerTimeout
	// Weights do not compress, and a length is wanted.
	transport.DisableCompression = true
	return &http.Client{Transport: transport}
}

// get asks for a blob from an offset on. do sends the request.
func get(ctx context.Context, do func(*http.Request) (*http.Response, error), address, source string, size, offset int64) (io.ReadCloser, int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, &Error{Source: source, Err: err}
	}
	if offset > 0 {
		request.Header.Set("Range", byteRange(offset, size))
	}
	response, err := do(request)
	if err != nil {
		return nil, 0, unreachable(source, err)
	}
	switch response.StatusCode {
	case http.StatusOK:
		return response.Body, 0, nil
	case http.StatusPartialContent:
		if begins(response, offset) {
			return response.Body, offset, nil
		}
	}
	_ = response.Body.Close() // It is the status that counts.
	if response.StatusCode == http.StatusPartialContent || response.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		// The server means something else by the range than asked for.
		return get(ctx, do, address, source, size, 0)
	}
	return nil, 0, statusError(source, response.StatusCode)
}

// byteRange is the header that asks for all bytes from an offset on. Where the size is
// known the end is named too, as some registries want it.
func byteRange(offset, size int64) string {
	if size > 0 {
		return fmt.Sprintf("bytes=%d-%d", offset, size-1)
	}
	return fmt.Sprintf("bytes=%d-", offset)
}

// begins reports whether a partial answer begins at the offset.
func begins(response *http.Response, offset int64) bool {
	return strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset))
}

// unreachable is said of a request that got no answer. The address is left out, as it may
// hold a signature.
func unreachable(source string, err error) error {
	if withAddress, ok := errors.AsType[*url.Error](err); ok {
		err = withAddress.Err
	}
	return &Error{Source: source, Temporary: !errors.Is(err, context.Canceled), Err: err}
}

// statusError says what an answer without the bytes means.
func statusError(source string, status int) error {
	err := &Error{Source: source, Err: fmt.Errorf("the server answered %d %s", status, http.StatusText(status))}
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		err.Err = fmt.Errorf("%w: the runner's credentials for this server are missing, wrong or expired", err.Err)
	case status == http.StatusNotFound:
		err.Err = fmt.Errorf("%w: there is nothing of this name, or not for the runner's credentials", err.Err)
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		err.Temporary = true
	}
	return err
}

// isLoopback reports whether a host, with or without a port, is this machine.
func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}
