// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/atelier-dev/atelier/internal/modelstore"
)

// Annotations of layers and media types that say how a layer becomes files.
const (
	// annotationUnpack is set by oras push on a directory, which becomes a tar file.
	annotationUnpack = "io.deis.oras.content.unpack"
	// annotationFilepath is where the CNCF model specification puts a file's path.
	annotationFilepath = "org.cncf.model.filepath"
	modelPackPrefix    = "application/vnd.cncf.model."
)

// Bounds on a manifest.
const (
	maxManifest = 4 << 20
	maxLayers   = 10_000
)

// OCI is a model that is an artifact in an OCI registry: one made with oras push, where
// each layer is a file or a packed directory, or one by the CNCF model specification.
type OCI struct {
	repository *remote.Repository
	reference  string
}

// NewOCI takes a reference such as ghcr.io/organisation/model:tag or …@sha256:…, with or
// without oci:// before it. Without TLS it reads only from this machine, or from anywhere
// when insecure is true, and then without credentials.
func NewOCI(reference string, insecure bool, credentials Credentials) (*OCI, error) {
	reference = strings.TrimPrefix(reference, "oci://")
	parsed, err := registry.ParseReference(reference)
	if err != nil {
		return nil, fmt.Errorf("OCI reference %q: %w; must be like ghcr.io/organisation/model:tag", reference, err)
	}
	local := isLoopback(parsed.Registry)
	client := &auth.Client{Client: newClient(), Cache: auth.NewCache()}
	if local || !insecure {
		client.Credential = credentials.find
	}
	if local {
		client.BlockedRealmPrefixes = []netip.Prefix{}
	}
	return &OCI{
		repository: &remote.Repository{Client: client, Reference: parsed, PlainHTTP: local || insecure, MaxMetadataBytes: maxManifest},
		reference:  reference,
	}, nil
}

func (o *OCI) String() string { return "oci://" + o.reference }

// Resolve reads the manifest.
func (o *OCI) Resolve(ctx context.Context, wanted string) (Manifest, error) {
	reference := o.repository.Reference.ReferenceOrDefault()
	if wanted != "" {
		reference = wanted
	}
	descriptor, body, err := o.repository.Manifests().FetchReference(ctx, reference)
	if err != nil {
		return Manifest{}, o.failed(err)
	}
	defer func() { _ = body.Close() }() // Only read from.
	if descriptor.Size > maxManifest {
		return Manifest{}, &Error{Source: o.String(), Err: fmt.Errorf("the manifest has %d bytes; at most %d are read", descriptor.Size, maxManifest)}
	}
	data, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	if err != nil {
		return Manifest{}, &Error{Source: o.String(), Temporary: true, Err: err}
	}
	if got := digest.FromBytes(data); got != descriptor.Digest || wanted != "" && got.String() != wanted {
		return Manifest{}, &VerifyError{Source: o.String(), Want: descriptor.Digest.String(), Got: got.String()}
	}
	blobs, err := layers(data)
	if err != nil {
		return Manifest{}, &modelstore.ModelError{File: o.String(), Message: err.Error(), Err: err}
	}
	return Manifest{Digest: descriptor.Digest.String(), Blobs: blobs}, nil
}

// Open gives a layer's bytes.
func (o *OCI) Open(ctx context.Context, blob Blob, offset int64) (io.ReadCloser, int64, error) {
	scheme := "https"
	if o.repository.PlainHTTP {
		scheme = "http"
	}
	ref := o.repository.Reference
	url := fmt.Sprintf("%s://%s/v2/%s/blobs/%s", scheme, ref.Host(), ref.Repository, blob.Digest)
	ctx = auth.AppendRepositoryScope(ctx, ref, auth.ActionPull)
	return get(ctx, o.repository.Client.Do, url, o.String(), blob.Size, offset)
}

// failed says what an error of the registry means.
func (o *OCI) failed(err error) error {
	var response *errcode.ErrorResponse
	var unreachable net.Error
	switch {
	case errors.As(err, &response) && response.StatusCode != 0:
		return statusError(o.String(), response.StatusCode)
	case errors.Is(err, content.ErrMismatchedDigest):
		return &Error{Source: o.String(), Err: err}
	}
	temporary := errors.As(err, &unreachable) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return statusError(o.String(), http.StatusUnauthorized)
	}
	return &Error{Source: o.String(), Temporary: temporary, Err: err}
}

// layers reads a manifest's layers.
func layers(data []byte) ([]Blob, error) {
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("the manifest is not JSON: %w", err)
	}
	switch n := len(manifest.Layers); {
	case n == 0:
		return nil, fmt.Errorf("the manifest (%s) has no layers; must be that of an artifact, not of an index", manifest.MediaType)
	case n > maxLayers:
		return nil, fmt.Errorf("the manifest has %d layers; at most %d are read", n, maxLayers)
	}
	blobs := make([]Blob, len(manifest.Layers))
	for i, layer := range manifest.Layers {
		if err := layer.Digest.Validate(); err != nil || layer.Digest.Algorithm() != digest.SHA256 {
			return nil, fmt.Errorf("layer %d: the digest is %q; must be a sha256", i, layer.Digest)
		}
		if layer.Size < 0 {
			return nil, fmt.Errorf("layer %d: the size is %d", i, layer.Size)
		}
		path, archive := place(layer)
		if path == "" && !archive {
			return nil, fmt.Errorf("layer %d (%s) has neither the annotation %s nor %s, so that it has no place in a model directory",
				i, layer.MediaType, ocispec.AnnotationTitle, annotationFilepath)
		}
		blobs[i] = Blob{Digest: layer.Digest.String(), Size: layer.Size, Path: path, Archive: archive}
	}
	return blobs, nil
}

// place gives a layer's path, or says that it is an archive that has the paths in it.
// The media type of a layer of oras push says nothing: it is tar for files too.
func place(layer ocispec.Descriptor) (path string, archive bool) {
	if strings.HasPrefix(layer.MediaType, modelPackPrefix) {
		kind := layer.MediaType[strings.LastIndex(layer.MediaType, ".")+1:]
		return layer.Annotations[annotationFilepath], kind == "tar" || strings.HasPrefix(kind, "tar+")
	}
	return layer.Annotations[ocispec.AnnotationTitle], layer.Annotations[annotationUnpack] == "true"
}
