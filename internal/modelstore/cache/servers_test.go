// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/file"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
)

// files are the files of a model directory by their paths.
type files map[string]string

// noise gives n bytes that do not compress, another lot for each seed.
func noise(seed uint64, n int) string {
	data := make([]byte, n)
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = random.Read(data)
	return string(data)
}

// model makes the files of a model with weights of a size.
func model(seed uint64, size int) files {
	return files{
		"model_index.json":       `{"_class_name": "StableDiffusionPipeline"}`,
		"tokenizer/vocab.json":   "{}",
		"unet/model.onnx":        "a graph",
		"unet/model.onnx_data":   noise(seed, size),
		"vae_decoder/model.onnx": noise(seed+1000, 100),
	}
}

func (f files) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range f {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(data), 0o644))
	}
	return dir
}

// tar packs the files, with a prefix before each path.
func (f files) tar(t *testing.T, prefix string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(f)) {
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: prefix + name, Size: int64(len(f[name])), Mode: 0o644}))
		_, err := io.WriteString(w, f[name])
		must(t, err)
	}
	must(t, w.Close())
	return out.Bytes()
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(data)
	must(t, err)
	must(t, w.Close())
	return out.Bytes()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// server is a registry, or a server of files, that fails as it is told to.
type server struct {
	*testing.T
	*httptest.Server
	real http.Handler

	mu sync.Mutex
	// fault is asked before each request for a blob or file; true says that it answered.
	fault func(w http.ResponseWriter, r *http.Request, n int) bool
	// limit cuts an answer with a blob after so many bytes; 0 does not.
	limit int
	// gets counts the requests for blobs or files, and ranges has their ranges.
	gets   int
	ranges []string
	served int64
}

// newRegistry starts a registry of OCI artifacts.
func newRegistry(t *testing.T) *server {
	return newServer(t, registry.New(registry.Logger(log.New(io.Discard, "", 0))))
}

func newServer(t *testing.T, handler http.Handler) *server {
	t.Helper()
	s := &server{T: t, real: handler}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// setFault says what is to be asked before each request for a blob or file.
func (s *server) setFault(fault func(w http.ResponseWriter, r *http.Request, n int) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	isBlob := r.Method == http.MethodGet && (strings.Contains(r.URL.Path, "/blobs/sha256:") || !strings.HasPrefix(r.URL.Path, "/v2/"))
	if !isBlob {
		s.real.ServeHTTP(w, r)
		return
	}
	s.mu.Lock()
	s.gets++
	n, fault, limit := s.gets, s.fault, s.limit
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	s.mu.Unlock()
	if fault != nil && fault(w, r, n) {
		return
	}
	s.real.ServeHTTP(&cutter{ResponseWriter: w, server: s, limit: limit}, r)
}

// cutter cuts the connection after so many bytes.
type cutter struct {
	http.ResponseWriter
	server *server
	limit  int
	sent   int
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.limit > 0 && c.sent+len(p) > c.limit {
		p = p[:c.limit-c.sent]
	}
	n, err := c.ResponseWriter.Write(p)
	c.sent += n
	c.server.mu.Lock()
	c.server.served += int64(n)
	c.server.mu.Unlock()
	if c.limit > 0 && c.sent >= c.limit {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

// seen gives what was asked for: the number of requests, those with a range, and the bytes
// that were sent.
func (s *server) seen() (gets, ranged int, served int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.ranges {
		if r != "" {
			ranged++
		}
	}
	return s.gets, ranged, s.served
}

// push publishes a model as oras push does: what is at the top of the directory becomes
// a layer each, directories packed. It gives the reference.
func (s *server) push(name string, f files) string {
	s.Helper()
	dir := f.write(s.T)
	store, err := file.New(dir)
	must(s.T, err)
	// The same files make the same archive, whenever they were written.
	store.TarReproducible = true
	defer func() { must(s.T, store.Close()) }()
	entries, err := os.ReadDir(dir)
	must(s.T, err)
	var layers []ocispec.Descriptor
	for _, entry := range entries {
		layer, err := store.Add(s.Context(), entry.Name(), "", "")
		must(s.T, err)
		layers = append(layers, layer)
	}
	return s.publish(store, name, "application/vnd.unknown.artifact.v1", layers)
}

// pushFiles publishes a model with a layer for each file, as oras push does that is
// given the files' names.
func (s *server) pushFiles(name string, f files) string {
	s.Helper()
	store, err := file.New(f.write(s.T))
	must(s.T, err)
	defer func() { must(s.T, store.Close()) }()
	var layers []ocispec.Descriptor
	for _, path := range slices.Sorted(maps.Keys(f)) {
		layer, err := store.Add(s.Context(), path, "", "")
		must(s.T, err)
		layers = append(layers, layer)
	}
	return s.publish(store, name, "application/vnd.unknown.artifact.v1", layers)
}

// publish pushes layers that are in the store, with a manifest.
func (s *server) publish(store oras.Target, name, artifactType string, layers []ocispec.Descriptor) string {
	s.Helper()
	manifest, err := oras.PackManifest(s.Context(), store, oras.PackManifestVersion1_1, artifactType, oras.PackManifestOptions{Layers: layers})
	must(s.T, err)
	must(s.T, store.Tag(s.Context(), manifest, "latest"))
	reference := s.host() + "/" + name + ":latest"
	repository, err := remote.NewRepository(reference)
	must(s.T, err)
	repository.PlainHTTP = true
	_, err = oras.Copy(s.Context(), store, "latest", repository, "latest", oras.DefaultCopyOptions)
	must(s.T, err)
	return reference
}

// layer is one layer of an artifact that is put together by hand.
type layer struct {
	mediaType   string
	data        []byte
	annotations map[string]string
}

// pushLayers publishes an artifact of such layers.
func (s *server) pushLayers(name, artifactType string, layers ...layer) string {
	s.Helper()
	store := memory.New()
	var descriptors []ocispec.Descriptor
	for _, l := range layers {
		descriptor := ocispec.Descriptor{MediaType: l.mediaType, Digest: digest.FromBytes(l.data), Size: int64(len(l.data))}
		must(s.T, store.Push(s.Context(), descriptor, bytes.NewReader(l.data)))
		descriptor.Annotations = l.annotations
		descriptors = append(descriptors, descriptor)
	}
	return s.publish(store, name, artifactType, descriptors)
}

func (s *server) oci(reference string) fetch.Remote {
	s.Helper()
	artifact, err := fetch.NewOCI(reference, false, fetch.Credentials{})
	must(s.T, err)
	return artifact
}

// quick is a configuration for tests.
func quick(t *testing.T) Config {
	t.Helper()
	return Config{Dir: t.TempDir(), Tries: 3, Backoff: time.Millisecond, Stall: time.Second}
}

func open(t *testing.T, config Config) *Cache {
	t.Helper()
	c, err := Open(config)
	must(t, err)
	return c
}

// pull pulls a model and lets go of it when the test ends.
func pull(t *testing.T, c *Cache, from fetch.Remote) (*Model, error) {
	t.Helper()
	m, err := c.Pull(t.Context(), from, "", func(int64, int64) {})
	if m != nil {
		t.Cleanup(m.Release)
	}
	return m, err
}

// expect compares a model with what was published, and with its record.
func (f files) expect(t *testing.T, m *Model) {
	t.Helper()
	got := files{}
	must(t, filepath.WalkDir(m.Dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if !entry.Type().IsRegular() {
			t.Errorf("%s is not a regular file", path)
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(m.Dir, path)
		got[filepath.ToSlash(name)] = string(data)
		return err
	}))
	if !maps.Equal(got, f) {
		t.Errorf("files are %v; want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(f)))
	}
	must(t, m.Verify())
	if len(m.Record.Files) != len(f) {
		t.Errorf("the record has %d files; want %d", len(m.Record.Files), len(f))
	}
}

// expectNothing checks that no blob, model or stage is in the cache.
func expectNothing(t *testing.T, c *Cache) {
	t.Helper()
	for _, dir := range []string{c.blobs(), c.path("models"), c.path("staging")} {
		if left, err := names(dir); err != nil || len(left) > 0 {
			t.Errorf("%s has %v (%v); want nothing", dir, left, err)
		}
	}
}
