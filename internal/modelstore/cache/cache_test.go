// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"archive/zip"
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
)

func zipped(t *testing.T, f files) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, data := range f {
		entry, err := w.Create(name)
		must(t, err)
		_, err = entry.Write([]byte(data))
		must(t, err)
	}
	must(t, w.Close())
	return out.Bytes()
}

func zstandard(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	must(t, err)
	return w.EncodeAll(data, nil)
}

// web serves bytes as a file that can be read in parts.
func web(t *testing.T, data []byte) *server {
	return newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
}

func (s *server) http(sum string) fetch.Remote {
	s.Helper()
	remote, err := fetch.NewHTTP(s.URL+"/model", sum, fetch.Credentials{})
	must(s.T, err)
	return remote
}

func TestOrasPush(t *testing.T) {
	want := model(1, 1<<20)
	for name, push := range map[string]func(*server) string{
		"directories packed":    func(s *server) string { return s.push("a/model", want) },
		"a layer for each file": func(s *server) string { return s.pushFiles("a/model", want) },
		"one directory": func(s *server) string {
			packed := files{}
			for name, data := range want {
				packed["my-model/"+name] = data
			}
			return s.push("a/model", packed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newRegistry(t)
			m, err := pull(t, open(t, quick(t)), s.oci(push(s)))
			must(t, err)
			want.expect(t, m)
		})
	}
}

func TestModelPack(t *testing.T) {
	const (
		weight = "application/vnd.cncf.model.weight.v1."
		config = "application/vnd.cncf.model.weight.config.v1."
		path   = "org.cncf.model.filepath"
	)
	want := model(2, 1<<20)
	packed := func(name string) []byte { return files{name: want[name]}.tar(t, "") }
	at := func(name string) map[string]string { return map[string]string{path: name} }
	s := newRegistry(t)
	reference := s.pushLayers("a/model", "application/vnd.cncf.model.manifest.v1+json",
		layer{weight + "raw", []byte(want["unet/model.onnx_data"]), at("unet/model.onnx_data")},
		layer{weight + "tar", packed("unet/model.onnx"), at("unet/model.onnx")},
		layer{weight + "tar+gzip", gzipped(t, packed("vae_decoder/model.onnx")), at("vae_decoder/model.onnx")},
		layer{config + "tar+zstd", zstandard(t, packed("tokenizer/vocab.json")), at("tokenizer/vocab.json")},
		layer{config + "raw", []byte(want["model_index.json"]), at("model_index.json")},
	)
	m, err := pull(t, open(t, quick(t)), s.oci(reference))
	must(t, err)
	want.expect(t, m)
}

func TestArchives(t *testing.T) {
	want := model(3, 1<<20)
	for name, data := range map[string][]byte{
		"tar":             want.tar(t, ""),
		"tar in a folder": want.tar(t, "stable-diffusion/"),
		"tar with a dot":  want.tar(t, "./"),
		"tar.gz":          gzipped(t, want.tar(t, "")),
		"tar.zst":         zstandard(t, want.tar(t, "")),
		"zip":             zipped(t, want),
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, quick(t))
			m, err := pull(t, c, web(t, data).http(sha(data)))
			must(t, err)
			want.expect(t, m)
			if left, _ := names(c.path("partial")); len(left) > 0 {
				t.Errorf("the archive was kept: %v", left)
			}
		})
	}
}

// A server without lengths, which answers a HEAD request with an error.
func TestUnknownSize(t *testing.T) {
	want := model(3, 1<<20)
	data := want.tar(t, "")
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		for part := data; len(part) > 0; {
			n, _ := w.Write(part[:min(100_000, len(part))])
			part = part[n:]
			_ = http.NewResponseController(w).Flush()
		}
	}))
	m, err := pull(t, open(t, quick(t)), s.http(sha(data)))
	must(t, err)
	want.expect(t, m)
}

func TestCutConnections(t *testing.T) {
	const size = 4 << 20
	want := model(4, size)
	t.Run("registry", func(t *testing.T) {
		s := newRegistry(t)
		reference := s.pushFiles("a/model", want)
		s.limit = 1 << 20
		var done, total atomic.Int64
		c := open(t, quick(t))
		m, err := c.Pull(t.Context(), s.oci(reference), "", func(d, n int64) { done.Store(d); total.Store(n) })
		must(t, err)
		defer m.Release()
		want.expect(t, m)
		_, ranged, served := s.seen()
		if ranged < 3 || served > size+size/4 {
			t.Errorf("%d requests went on in the middle and %d bytes were sent; want at least 3, and not much more than %d", ranged, served, size)
		}
		if done.Load() != total.Load() || total.Load() != m.Record.SizeBytes() {
			t.Errorf("progress ended at %d of %d; want %d", done.Load(), total.Load(), m.Record.SizeBytes())
		}
	})
	t.Run("web", func(t *testing.T) {
		data := want.tar(t, "")
		s := web(t, data)
		s.limit = 1 << 20
		m, err := pull(t, open(t, quick(t)), s.http(sha(data)))
		must(t, err)
		want.expect(t, m)
		if _, ranged, served := s.seen(); ranged < 3 || served > size+size/4 {
			t.Errorf("%d requests went on in the middle and %d bytes were sent", ranged, served)
		}
	})
	t.Run("web that knows no ranges", func(t *testing.T) {
		data := want.tar(t, "")
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }))
		s.setFault(func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n == 1 {
				_, _ = w.Write(data[:1<<20])
				panic(http.ErrAbortHandler)
			}
			return false
		})
		m, err := pull(t, open(t, quick(t)), s.http(sha(data)))
		must(t, err)
		want.expect(t, m)
	})
	t.Run("always at the same byte", func(t *testing.T) {
		data := want.tar(t, "")
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(data[:1<<20])
			panic(http.ErrAbortHandler)
		}))
		_, err := pull(t, open(t, quick(t)), s.http(sha(data)))
		if !fetch.IsTemporary(err) {
			t.Errorf("error is %v; want one that may pass", err)
		}
		if gets, _, _ := s.seen(); gets > 8 {
			t.Errorf("%d requests; want a few", gets)
		}
	})
}

func TestServerTrouble(t *testing.T) {
	want := model(5, 1<<20)
	answer := func(status int) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.WriteHeader(status)
			return true
		}
	}
	for _, test := range []struct {
		name  string
		fault func(w http.ResponseWriter, r *http.Request, n int) bool
		// temporary and text are of the error; no text is no error.
		temporary bool
		text      string
		most      int
	}{
		{name: "503 once", fault: func(w http.ResponseWriter, _ *http.Request, n int) bool {
			if n == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return n == 1
		}, most: 7},
		{name: "503 for ever", fault: answer(http.StatusServiceUnavailable), temporary: true, text: "503 Service Unavailable", most: 15},
		{name: "429 for ever", fault: answer(http.StatusTooManyRequests), temporary: true, text: "429", most: 15},
		{name: "gone", fault: answer(http.StatusNotFound), text: "there is nothing of this name", most: 5},
		{name: "expired credentials", fault: answer(http.StatusUnauthorized), text: "missing, wrong or expired", most: 5},
		{name: "stalls once", fault: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n > 1 {
				return false
			}
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return true
		}, most: 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newRegistry(t)
			reference := s.pushFiles("a/model", want)
			s.setFault(test.fault)
			config := quick(t)
			config.Stall = 200 * time.Millisecond
			c := open(t, config)
			m, err := pull(t, c, s.oci(reference))
			if gets, _, _ := s.seen(); gets > test.most {
				t.Errorf("%d requests; want at most %d", gets, test.most)
			}
			if test.text == "" {
				must(t, err)
				want.expect(t, m)
				return
			}
			var fetchErr *fetch.Error
			if !errors.As(err, &fetchErr) || fetchErr.Temporary != test.temporary || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error is %v (temporary %v); want %q (%v)", err, fetch.IsTemporary(err), test.text, test.temporary)
			}
			if models, _ := names(c.path("models")); len(models) > 0 {
				t.Errorf("there is a model: %v", models)
			}
		})
	}
}

func TestRegistryDown(t *testing.T) {
	s := newRegistry(t)
	reference := s.pushFiles("a/model", model(5, 100))
	s.Close()
	_, err := pull(t, open(t, quick(t)), s.oci(reference))
	if !fetch.IsTemporary(err) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error is %v; want that the connection was refused, which may pass", err)
	}
}

func TestWrongBytes(t *testing.T) {
	want := model(6, 1<<20)
	corrupt := func(times int) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n > times {
				return false
			}
			data := []byte(want["unet/model.onnx_data"])
			data[500_000] ^= 1
			_, _ = w.Write(data)
			return true
		}
	}
	only := files{"model_index.json": want["unet/model.onnx_data"]}
	t.Run("once", func(t *testing.T) {
		s := newRegistry(t)
		reference := s.pushFiles("a/model", only)
		s.setFault(corrupt(1))
		m, err := pull(t, open(t, quick(t)), s.oci(reference))
		must(t, err)
		only.expect(t, m)
	})
	t.Run("always", func(t *testing.T) {
		s := newRegistry(t)
		reference := s.pushFiles("a/model", only)
		s.setFault(corrupt(1000))
		c := open(t, quick(t))
		_, err := pull(t, c, s.oci(reference))
		if _, ok := errors.AsType[*fetch.VerifyError](err); !ok {
			t.Errorf("error is %v; want a VerifyError", err)
		}
		if gets, _, _ := s.seen(); gets != 2 {
			t.Errorf("%d requests; want 2", gets)
		}
		expectNothing(t, c)
	})
	t.Run("not the sha256 in the spec", func(t *testing.T) {
		c := open(t, quick(t))
		_, err := pull(t, c, web(t, want.tar(t, "")).http(sha([]byte("another"))))
		if _, ok := errors.AsType[*fetch.VerifyError](err); !ok {
			t.Errorf("error is %v; want a VerifyError", err)
		}
		expectNothing(t, c)
	})
}

func TestCredentials(t *testing.T) {
	data := model(7, 100).tar(t, "")
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	config := filepath.Join(t.TempDir(), "config.json")
	login := func(password string) {
		must(t, os.WriteFile(config, []byte(`{"auths": {"`+s.host()+`": {"username": "me", "password": "`+password+`"}}}`), 0o600))
	}
	login("expired")
	remote, err := fetch.NewHTTP(s.URL, sha(data), fetch.Credentials{File: config})
	must(t, err)
	c := open(t, quick(t))
	if _, err := pull(t, c, remote); err == nil || !strings.Contains(err.Error(), "401") || strings.Contains(err.Error(), "expired\"") {
		t.Errorf("error is %v; want 401", err)
	}
	login("secret") // As when the Secret is renewed.
	_, err = pull(t, c, remote)
	must(t, err)
}

func TestPinnedDigestNeedsNoServer(t *testing.T) {
	s := newRegistry(t)
	first, second := model(8, 1000), model(9, 1000)
	reference := s.pushFiles("a/model", first)
	c := open(t, quick(t))
	m, err := pull(t, c, s.oci(reference))
	must(t, err)
	s.pushFiles("a/model", second) // The tag moves.
	pinned, err := c.Pull(t.Context(), s.oci(reference), m.Record.Digest, func(int64, int64) {})
	must(t, err)
	defer pinned.Release()
	first.expect(t, pinned)
	elsewhere := open(t, quick(t))
	other, err := elsewhere.Pull(t.Context(), s.oci(reference), m.Record.Digest, func(int64, int64) {})
	must(t, err)
	defer other.Release()
	first.expect(t, other)
	s.Close()
	again, err := c.Pull(t.Context(), s.oci(reference), m.Record.Digest, func(int64, int64) {})
	must(t, err)
	again.Release()
}

func TestSharedFiles(t *testing.T) {
	s := newRegistry(t)
	one, two := model(10, 1<<20), model(10, 1<<20)
	two["tokenizer/vocab.json"] = `{"a": 1}`
	for name, push := range map[string]func(string, files) string{"layers": s.pushFiles, "archives": s.push} {
		t.Run(name, func(t *testing.T) {
			c := open(t, quick(t))
			_, err := pull(t, c, s.oci(push(name+"/one", one)))
			must(t, err)
			_, _, before := s.seen()
			m, err := pull(t, c, s.oci(push(name+"/two", two)))
			must(t, err)
			two.expect(t, m)
			if _, _, after := s.seen(); after-before > 1<<19 {
				t.Errorf("%d bytes were fetched again", after-before)
			}
			if taken, err := c.measure(nil); err != nil || taken.stored > 1<<20+10_000 || taken.promised != 0 {
				t.Errorf("the cache takes %+v (%v); want the weights once", taken, err)
			}
		})
	}
}

func TestEviction(t *testing.T) {
	s := newRegistry(t)
	const size = 1 << 20
	remotes := make([]fetch.Remote, 3)
	for i := range remotes {
		remotes[i] = s.oci(s.pushFiles("a/model"+string(rune('a'+i)), model(uint64(20+i), size)))
	}
	config := quick(t)
	config.Capacity = 2*size + size/2
	c := open(t, config)
	get := func(i int) *Model {
		t.Helper()
		m, err := c.Pull(t.Context(), remotes[i], "", func(int64, int64) {})
		must(t, err)
		return m
	}
	a := get(0)
	b := get(1)
	b.Release()
	a.Release() // Used after b.
	cc := get(2)
	if m, err := c.Use(t.Context(), b.Record.Digest); m != nil || err != nil {
		t.Errorf("b is there (%v); want it gone, as it was not used for longest", err)
	}
	a = get(0)
	if _, err := pull(t, c, remotes[1]); !isFull(err) || !strings.Contains(err.Error(), "2 models in use") {
		t.Errorf("error is %v; want that the cache is full, with 2 models in use", err)
	}
	must(t, a.Verify())
	cc.Release()
	b = get(1)
	must(t, b.Verify())
	must(t, a.Verify())
	a.Release()
	b.Release()
	config.Capacity = size / 2
	small := open(t, config)
	if _, err := pull(t, small, remotes[2]); !isFull(err) {
		t.Errorf("error is %v; want that the cache is full", err)
	}
	if m, err := c.Use(t.Context(), b.Record.Digest); m == nil || err != nil {
		t.Errorf("a model that can't fit threw another away (%v)", err)
	} else {
		m.Release()
	}
	if left, err := c.Prune(0); left != 0 || err != nil {
		t.Errorf("after pruning %d bytes are taken (%v)", left, err)
	}
	expectNothing(t, c)
}

func isFull(err error) bool {
	var full *FullError
	return errors.As(err, &full)
}

func TestManyPullOneModel(t *testing.T) {
	s := newRegistry(t)
	want := model(30, 2<<20)
	reference := s.push("a/model", want)
	config := quick(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			m, err := open(t, config).Pull(t.Context(), s.oci(reference), "", func(int64, int64) {})
			if err != nil {
				t.Error(err)
				return
			}
			defer m.Release()
			want.expect(t, m)
		})
	}
	all.Wait()
	if gets, _, _ := s.seen(); gets != 4 {
		t.Errorf("%d blobs were fetched; want each of the 4 once", gets)
	}
}

func TestDamagedModelIsFetchedAgain(t *testing.T) {
	s := newRegistry(t)
	want := model(31, 1000)
	remote := s.oci(s.pushFiles("a/model", want))
	c := open(t, quick(t))
	m, err := c.Pull(t.Context(), remote, "", func(int64, int64) {})
	must(t, err)
	weights := filepath.Join(m.Dir, "unet", "model.onnx_data")
	must(t, os.Chmod(weights, 0o644))
	must(t, os.WriteFile(weights, []byte(noise(99, 1000)), 0o644))
	var wrong *fetch.VerifyError
	if err := m.Verify(); !errors.As(err, &wrong) || wrong.Source != "unet/model.onnx_data" {
		t.Errorf("error is %v; want one about unet/model.onnx_data", err)
	}
	must(t, os.Truncate(weights, 10))
	m.Release()
	m, err = pull(t, c, remote)
	must(t, err)
	want.expect(t, m)
}

func TestNotAModel(t *testing.T) {
	s := newRegistry(t)
	for name, reference := range map[string]string{
		"without model_index.json": s.push("a/b", files{"README.md": "nothing here"}),
		"without titles":           s.pushLayers("a/c", "application/x", layer{mediaType: ocispec.MediaTypeImageLayer, data: []byte("x")}),
		"with a path out of it":    s.pushLayers("a/d", "application/x", layer{mediaType: "application/x", data: []byte("x"), annotations: map[string]string{ocispec.AnnotationTitle: "../evil"}}),
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, quick(t))
			_, err := pull(t, c, s.oci(reference))
			if _, ok := errors.AsType[*modelstore.ModelError](err); !ok {
				t.Errorf("error is %v; want a ModelError", err)
			}
			if models, _ := names(c.path("models")); len(models) > 0 {
				t.Errorf("there is a model: %v", models)
			}
		})
	}
}
