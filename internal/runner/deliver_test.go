// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	. "github.com/onsi/gomega"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"k8s.io/apimachinery/pkg/types"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/modelstore/cache"
	"github.com/atelier-dev/atelier/internal/pipeline"
	"github.com/atelier-dev/atelier/test/s3server"
)

// published is a registry with models.
type published struct {
	*cluster
	*httptest.Server
	// broken makes each answer with a blob another one.
	broken atomic.Pointer[http.HandlerFunc]
}

func (c *cluster) registry() *published {
	c.Helper()
	p := &published{cluster: c}
	real := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken := p.broken.Load(); broken != nil && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			(*broken)(w, r)
			return
		}
		real.ServeHTTP(w, r)
	}))
	c.Cleanup(p.Close)
	return p
}

// push publishes a model with weights, and gives where and its digest.
func (p *published) push(name, weights string) (v1alpha1.ModelSource, string) {
	p.Helper()
	store := memory.New()
	var layers []ocispec.Descriptor
	for path, data := range map[string]string{"model_index.json": "{}", "unet/model.onnx": weights} {
		layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(data), Size: int64(len(data)),
			Annotations: map[string]string{ocispec.AnnotationTitle: path}}
		p.Expect(store.Push(p.Context(), layer, bytes.NewReader([]byte(data)))).To(Succeed())
		layers = append(layers, layer)
	}
	manifest, err := oras.PackManifest(p.Context(), store, oras.PackManifestVersion1_1, "application/vnd.example", oras.PackManifestOptions{Layers: layers})
	p.Expect(err).NotTo(HaveOccurred())
	p.Expect(store.Tag(p.Context(), manifest, "v1")).To(Succeed())
	reference := strings.TrimPrefix(p.URL, "http://") + "/" + name + ":v1"
	repository, err := remote.NewRepository(reference)
	p.Expect(err).NotTo(HaveOccurred())
	repository.PlainHTTP = true
	_, err = oras.Copy(p.Context(), store, "v1", repository, "v1", oras.DefaultCopyOptions)
	p.Expect(err).NotTo(HaveOccurred())
	return v1alpha1.ModelSource{OCI: &v1alpha1.OCISource{Reference: reference}}, manifest.Digest.String()
}

func withCache(t *testing.T, capacity int64) option {
	t.Helper()
	c, err := cache.Open(cache.Config{Dir: t.TempDir(), Capacity: capacity, Tries: 2, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return func(s *settings) { s.config.Cache = c }
}

// fromSource is an assignment of a model that is published.
func fromSource(uid string, model string, source v1alpha1.ModelSource, digest string) v1alpha1.Assignment {
	a := assignment(types.UID(uid), 1, model)
	a.Model.Source, a.Model.Digest = source, digest
	return a
}

func TestModelIsFetchedAndReported(t *testing.T) {
	c := newCluster(t)
	source, digest := c.registry().push("cat", strings.Repeat("w", 5000))
	fake := &fakePipeline{onLoad: func(_ context.Context, model pipeline.Model) error {
		_, err := os.Stat(filepath.Join(model.Dir, "unet", "model.onnx"))
		return err
	}}
	c.runner(fromSource("a", "cat", source, ""))
	c.start(withPipeline(fake), withCache(t, 0))
	report := c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.Expect(report.Pull).To(Equal(&v1alpha1.ModelPull{DoneBytes: 5002, TotalBytes: 5002, Digest: digest}))
	c.Expect(c.get().Status.Model).To(And(HaveField("Digest", digest),
		HaveField("ModelFacts", v1alpha1.ModelFacts{Family: "Stable Diffusion", SizeBytes: 5002, Parameters: 7})))
}

// With the digest that the manager recorded, a model that is there needs no registry.
func TestModelInTheCacheNeedsNoRegistry(t *testing.T) {
	c := newCluster(t)
	published := c.registry()
	source, digest := published.push("cat", "w")
	fake := &fakePipeline{}
	c.runner(fromSource("a", "cat", source, ""))
	c.start(withPipeline(fake), withCache(t, 0))
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	published.Close()
	c.assign(fromSource("b", "cat", source, digest))
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Expect(fake.history()).To(Equal([]string{"load cat", "generate cat", "generate cat"}))
}

// The cache has room for one model, and the one that is loaded is in it.
func TestLoadedModelMakesRoom(t *testing.T) {
	c := newCluster(t)
	published := c.registry()
	cat, _ := published.push("cat", strings.Repeat("c", 9000))
	dog, digest := published.push("dog", strings.Repeat("d", 9000))
	fake := &fakePipeline{}
	c.runner(fromSource("a", "cat", cat, ""), fromSource("b", "dog", dog, ""))
	c.start(withPipeline(fake), withCache(t, 10_000))
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Expect(fake.history()).To(Equal([]string{"load cat", "generate cat", "unload", "load dog", "generate dog"}))
	c.Expect(c.get().Status.Model).To(HaveField("Digest", digest))
}

func TestModelThatCannotBeHad(t *testing.T) {
	broken := func(status int, body string) *http.HandlerFunc {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
		return &h
	}
	for name, test := range map[string]struct {
		broken    *http.HandlerFunc
		capacity  int64
		reason    string
		message   string
		retryable bool
	}{
		"expired credentials": {broken: broken(http.StatusUnauthorized, ""), reason: v1alpha1.ReasonModelPullFailed, message: "missing, wrong or expired", retryable: true},
		"down":                {broken: broken(http.StatusBadGateway, ""), reason: v1alpha1.ReasonModelPullFailed, message: "502", retryable: true},
		"other bytes":         {broken: broken(http.StatusOK, strings.Repeat("x", 200)), reason: v1alpha1.ReasonModelVerifyFailed, message: "the digest is"},
		"no room":             {capacity: 10, reason: v1alpha1.ReasonCacheFull, message: "the model cache is full", retryable: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			published := c.registry()
			source, _ := published.push("cat", strings.Repeat("w", 100))
			published.broken.Store(test.broken)
			c.runner(fromSource("a", "cat", source, ""))
			c.start(withCache(t, test.capacity))
			report := c.awaitPhase("a", v1alpha1.PhaseFailed)
			c.Expect(report.Error).To(And(HaveField("Reason", test.reason), HaveField("Retryable", test.retryable), HaveField("Message", ContainSubstring(test.message))))
		})
	}
}

// fromBucket is an assignment of a model in a bucket of the server, whose pool has a store
// with the credentials for it where there is one.
func fromBucket(t *testing.T, uid string, server *s3server.Server, store *v1alpha1.OutputStore) (a v1alpha1.Assignment, digest string) {
	t.Helper()
	sums := ""
	for path, data := range map[string]string{"model_index.json": "{}", "unet/model.onnx": "weights"} {
		server.Fill(t, "models", "cat/"+path, []byte(data))
		sums += digestOf(data) + "  " + path + "\n"
	}
	server.Fill(t, "models", "cat/SHA256SUMS", []byte(sums))
	a = fromSource(uid, "cat", v1alpha1.ModelSource{Bucket: &v1alpha1.BucketSource{URL: "s3://models/cat", Endpoint: server.URL, PathStyle: store == nil}}, "")
	a.Model.Store = store
	return a, "sha256:" + digestOf(sums)
}

func digestOf(data string) string { return digest.FromString(data).Encoded() }

func TestModelIsFetchedFromABucket(t *testing.T) {
	c := newCluster(t)
	server := s3server.Start(t, "models")
	a, digest := fromBucket(t, "a", server, &v1alpha1.OutputStore{Name: "pictures", URL: "s3://models", Endpoint: server.URL, PathStyle: true,
		SecretRef: &v1alpha1.ObjectReference{Name: "pictures-s3"}})
	c.runner(a)
	c.start(withCache(t, 0), withStores(t), withPipeline(&fakePipeline{}))
	report := c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.Expect(report.Pull).To(Equal(&v1alpha1.ModelPull{DoneBytes: 9, TotalBytes: 9, Digest: digest}))
	c.Expect(c.get().Status.Model).To(HaveField("Digest", digest))
}

// A server that only the Model names gets no credentials, whatever the runner has.
func TestModelInABucketOfNoStoreGetsNoCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", s3server.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3server.SecretAccessKey)
	c := newCluster(t)
	server := s3server.Start(t, "models")
	var authorized atomic.Bool
	server.SetReadFault(func(_ http.ResponseWriter, r *http.Request, _ int64) bool {
		authorized.Store(r.Header.Get("Authorization") != "")
		return false
	})
	a, _ := fromBucket(t, "a", server, nil)
	c.runner(a)
	c.start(withCache(t, 0), withStores(t))
	c.Expect(c.awaitPhase("a", v1alpha1.PhaseFailed).Error).To(And(HaveField("Reason", v1alpha1.ReasonModelPullFailed),
		HaveField("Message", And(ContainSubstring("s3://models/cat"), ContainSubstring("AccessDenied")))))
	c.Expect(authorized.Load()).To(BeFalse())
}
