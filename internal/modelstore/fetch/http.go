// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
)

// HTTP is a model that is an archive on a web server: a tar file, compressed or not, or a
// zip file.
type HTTP struct {
	url         *url.URL
	digest      digest.Digest
	client      *http.Client
	credentials Credentials
}

// NewHTTP takes an address and the archive's sha256 in hexadecimal. Credentials are sent
// over TLS only, or to this machine.
func NewHTTP(address, sha256 string, credentials Credentials) (*HTTP, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("URL %q: %w", address, err)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("URL %q: must be like https://example.com/model.tar.gz", address)
	}
	if u.User != nil {
		return nil, fmt.Errorf("URL of %s: must not hold a name or password; the runner has them", u.Host)
	}
	sum := digest.NewDigestFromEncoded(digest.SHA256, strings.ToLower(sha256))
	if err := sum.Validate(); err != nil {
		return nil, fmt.Errorf("sha256 %q: must be 64 hexadecimal digits", sha256)
	}
	return &HTTP{url: u, digest: sum, client: newClient(), credentials: credentials}, nil
}

// String gives the address without its query, which may hold a signature.
func (h *HTTP) String() string {
	shown := *h.url
	shown.RawQuery = ""
	return shown.String()
}

// Resolve asks the server only for the size: what the archive must be is known. A server
// that does not say, as with an address that is signed for reading alone, does no harm.
func (h *HTTP) Resolve(ctx context.Context, wanted string) (Manifest, error) {
	if wanted != "" && wanted != h.digest.String() {
		return Manifest{}, &VerifyError{Source: h.String(), Want: wanted, Got: h.digest.String()}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, h.url.String(), nil)
	if err != nil {
		return Manifest{}, &Error{Source: h.String(), Err: err}
	}
	response, err := h.do(request)
	if err != nil {
		return Manifest{}, unreachable(h.String(), err)
	}
	_ = response.Body.Close() // There is none.
	size := int64(-1)
	if response.StatusCode == http.StatusOK {
		size = response.ContentLength
	}
	return Manifest{Digest: h.digest.String(), Blobs: []Blob{{Digest: h.digest.String(), Size: size, Archive: true}}}, nil
}

// Open gives the archive's bytes.
func (h *HTTP) Open(ctx context.Context, blob Blob, offset int64) (io.ReadCloser, int64, error) {
	return get(ctx, h.do, h.url.String(), h.String(), blob.Size, offset)
}

// do sends a request with the credentials for the server. The client takes them off when
// it is sent on to another one.
func (h *HTTP) do(request *http.Request) (*http.Response, error) {
	if h.url.Scheme == "https" || isLoopback(h.url.Host) {
		credential, err := h.credentials.find(request.Context(), h.url.Host)
		if err != nil {
			return nil, err
		}
		switch {
		case credential.AccessToken != "":
			request.Header.Set("Authorization", "Bearer "+credential.AccessToken)
		case credential.Username != "":
			request.SetBasicAuth(credential.Username, credential.Password)
		}
	}
	return h.client.Do(request)
}
