// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/atelier-dev/atelier/internal/bucket"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
	"github.com/atelier-dev/atelier/test/s3server"
)

// sums lists the files as sha256sum does.
func (f files) sums() string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f)) {
		_, _ = fmt.Fprintf(&out, "%s  %s\n", sha([]byte(f[name])), name)
	}
	return out.String()
}

// inBucket puts a model into a folder of the bucket "models", with a list of its files.
func (f files) inBucket(t *testing.T, s *s3server.Server, folder string) {
	t.Helper()
	for name, data := range f {
		s.Fill(t, "models", folder+"/"+name, []byte(data))
	}
	s.Fill(t, "models", folder+"/"+fetch.SumsFile, []byte(f.sums()))
}

// inFolder is a model in a folder of the bucket "models".
func inFolder(t *testing.T, s *s3server.Server, folder, sum string) fetch.Remote {
	t.Helper()
	dir := t.TempDir()
	for key, value := range map[string]string{bucket.KeyAccessKeyID: s3server.AccessKeyID, bucket.KeySecretAccessKey: s3server.SecretAccessKey} {
		must(t, os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600))
	}
	remote, err := fetch.NewBucket(bucket.Config{URL: "s3://models/" + folder, Endpoint: s.URL, PathStyle: true, CredentialsDir: dir}, sum)
	must(t, err)
	return remote
}

func TestModelInABucket(t *testing.T) {
	s := s3server.Start(t, "models")
	want := model(1, 1<<20)
	want.inBucket(t, s, "sd15")
	sum := sha([]byte(want.sums()))
	c := open(t, quick(t))
	m, err := pull(t, c, inFolder(t, s, "sd15", ""))
	must(t, err)
	want.expect(t, m)
	if m.Record.Digest != "sha256:"+sum || m.Record.Source != "s3://models/sd15" {
		t.Errorf("the record has %s of %s; want that of %s", m.Record.Digest, m.Record.Source, fetch.SumsFile)
	}

	// One that shares files with it has only the others fetched.
	tuned := maps.Clone(want)
	tuned["unet/model.onnx"] = "another graph"
	tuned.inBucket(t, s, "tuned")
	before := s.Gets()
	m, err = pull(t, c, inFolder(t, s, "tuned", sha([]byte(tuned.sums()))))
	must(t, err)
	tuned.expect(t, m)
	if n := s.Gets() - before; n != 2 {
		t.Errorf("%d requests for bytes, want one for the list and one for the graph", n)
	}
}

// TestBucketGoesOnInTheMiddle of a file after a cut connection and an error of the store.
func TestBucketGoesOnInTheMiddle(t *testing.T) {
	const half = 1 << 19
	s := s3server.Start(t, "models")
	want := model(1, 2*half)
	want.inBucket(t, s, "sd15")
	var mu sync.Mutex
	var ranges []string
	s.SetReadFault(func(w http.ResponseWriter, r *http.Request, _ int64) bool {
		if !strings.HasSuffix(r.URL.Path, "/unet/model.onnx_data") {
			return false
		}
		mu.Lock()
		ranges = append(ranges, r.Header.Get("Range"))
		n := len(ranges)
		mu.Unlock()
		switch n {
		case 1:
			w.Header().Set("Content-Length", strconv.Itoa(2*half))
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
			_, _ = w.Write([]byte(want["unet/model.onnx_data"][:half]))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	m, err := pull(t, open(t, quick(t)), inFolder(t, s, "sd15", ""))
	must(t, err)
	want.expect(t, m)
	mu.Lock()
	defer mu.Unlock()
	if len(ranges) != 3 || ranges[0] != "" && ranges[0] != "bytes=0-" || !strings.HasPrefix(ranges[2], fmt.Sprintf("bytes=%d-", half)) {
		t.Errorf("asked for %q; want the second half at the end", ranges)
	}
}

func TestBucketsThatAreRefused(t *testing.T) {
	good := model(1, 1000)
	for name, test := range map[string]struct {
		change func(s *s3server.Server)
		sum    string
		is     func(error) bool
		says   string
	}{
		"a file with other bytes": {
			change: func(s *s3server.Server) { s.Fill(t, "models", "sd15/unet/model.onnx", []byte("A GRAPH")) },
			is:     isA[*fetch.VerifyError], says: "s3://models/sd15",
		},
		"a list with other files than the pinned one": {sum: strings.Repeat("0a", 32), is: isA[*fetch.VerifyError], says: "s3://models/sd15/SHA256SUMS: the digest is"},
		"a list of a file that is not there": {
			change: func(s *s3server.Server) {
				s.Fill(t, "models", "sd15/SHA256SUMS", []byte(good.sums()+strings.Repeat("0a", 32)+"  lost\n"))
			},
			is: isA[*fetch.Error], says: "s3://models/sd15/lost: NoSuchKey",
		},
		"a list that leads out of the folder": {
			change: func(s *s3server.Server) {
				s.Fill(t, "models", "sd15/SHA256SUMS", []byte(strings.Repeat("0a", 32)+"  ../other/model_index.json\n"))
			},
			is: isA[*modelstore.ModelError], says: "must be below the folder",
		},
		"no list": {
			change: func(s *s3server.Server) { s.Drop(t, "models", "sd15/SHA256SUMS") },
			is:     isA[*fetch.Error], says: "a model in a bucket needs a list of its files",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := s3server.Start(t, "models")
			good.inBucket(t, s, "sd15")
			if test.change != nil {
				test.change(s)
			}
			c := open(t, quick(t))
			_, err := pull(t, c, inFolder(t, s, "sd15", test.sum))
			if err == nil || !test.is(err) || fetch.IsTemporary(err) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("error is %v; want %q", err, test.says)
			}
			if models, err := c.List(); err != nil || len(models) > 0 {
				t.Errorf("the cache has %v (%v)", models, err)
			}
		})
	}
}

// isA reports whether an error is of a type.
func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
