// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atelier-dev/atelier/test/s3server"
)

// serveZip serves the tiny model as a zip file, and gives its address and sha256.
func serveZip(t *testing.T) (address, sum string) {
	t.Helper()
	var data bytes.Buffer
	w := zip.NewWriter(&data)
	if err := w.AddFS(os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data.Bytes()))
	}))
	t.Cleanup(server.Close)
	hash := sha256.Sum256(data.Bytes())
	return server.URL + "/tiny.zip", hex.EncodeToString(hash[:])
}

func TestPullVerifyAndPrune(t *testing.T) {
	dir := t.TempDir()
	address, sum := serveZip(t)
	stdout, stderr, err := run(t, "pull", address, "--sha256", sum, "--cache-dir", dir)
	if err != nil || stderr != "" {
		t.Fatal(err, stderr)
	}
	lines := strings.Fields(stdout)
	if len(lines) != 2 || lines[0] != "sha256:"+sum {
		t.Fatalf("it printed %q; want digest and directory", stdout)
	}
	if _, _, err := run(t, "inspect", lines[1]); err != nil {
		t.Errorf("what was pulled is no model: %v", err)
	}
	if stdout, _, err := run(t, "cache", "ls", "--cache-dir", dir); err != nil || !strings.Contains(stdout, sum) || !strings.Contains(stdout, address) {
		t.Errorf("it lists %q (%v)", stdout, err)
	}
	for _, name := range []string{address, lines[0]} {
		if stdout, _, err := run(t, "verify", name, "--cache-dir", dir); err != nil || !strings.Contains(stdout, "all as fetched") {
			t.Errorf("verify prints %q (%v)", stdout, err)
		}
	}
	changed := filepath.Join(lines[1], "model_index.json")
	data, err := os.ReadFile(changed)
	if err == nil {
		err = os.Chmod(changed, 0o644)
	}
	if err == nil {
		err = os.WriteFile(changed, bytes.ToUpper(data), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t, "verify", lines[0], "--cache-dir", dir); err == nil || !strings.Contains(err.Error(), "model_index.json: the digest is") {
		t.Errorf("error is %v; want one about model_index.json", err)
	}
	if stdout, _, err := run(t, "cache", "prune", "--cache-dir", dir); err != nil || stdout != "the cache takes 0.0 MB\n" {
		t.Errorf("prune prints %q (%v)", stdout, err)
	}
	if _, _, err := run(t, "verify", lines[0], "--cache-dir", dir); err == nil || !strings.Contains(err.Error(), "is not in the cache") {
		t.Errorf("error is %v; want that it is not in the cache", err)
	}
}

func TestPullRefusals(t *testing.T) {
	for text, args := range map[string][]string{
		"must begin with oci://":    {"emoji"},
		"must be one of azblob://":  {"s3://"},
		"sha256 \"short\"":          {"s3://models/tiny", "--sha256", "short"},
		"such as 40Gi":              {"oci://localhost:1/a/b:c", "--cache-capacity", "lots"},
		"64 hexadecimal digits":     {"https://example.com/m.tar"},
		"must be like ghcr.io":      {"oci://nothing"},
		"must not hold a name":      {"https://me:secret@example.com/m.tar", "--sha256", strings.Repeat("a", 64)},
		"must be like https://exam": {"https:///m.tar", "--sha256", strings.Repeat("a", 64)},
	} {
		_, _, err := run(t, append([]string{"pull", "--cache-dir", t.TempDir()}, args...)...)
		if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "secret") {
			t.Errorf("pull %v: error is %v; want %q", args, err, text)
		}
	}
}

func TestPullFromABucket(t *testing.T) {
	server := s3server.Start(t, "models")
	sums := ""
	for _, name := range []string{"model_index.json", "unet/config.json"} {
		data, err := os.ReadFile(filepath.Join(tiny, name))
		if err != nil {
			t.Fatal(err)
		}
		server.Fill(t, "models", "tiny/"+name, data)
		sums += fmt.Sprintf("%x  %s\n", sha256.Sum256(data), name)
	}
	server.Fill(t, "models", "tiny/SHA256SUMS", []byte(sums))
	t.Setenv("AWS_ACCESS_KEY_ID", s3server.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3server.SecretAccessKey)
	dir, sum := t.TempDir(), fmt.Sprintf("%x", sha256.Sum256([]byte(sums)))
	stdout, _, err := run(t, "pull", "s3://models/tiny", "--endpoint", server.URL, "--path-style", "--sha256", sum, "--cache-dir", dir)
	if err != nil || !strings.HasPrefix(stdout, "sha256:"+sum+"\n") {
		t.Fatalf("it printed %q (%v); want the digest of SHA256SUMS", stdout, err)
	}
	if stdout, _, err := run(t, "verify", "s3://models/tiny", "--cache-dir", dir); err != nil || !strings.Contains(stdout, "2 files") {
		t.Errorf("verify prints %q (%v)", stdout, err)
	}
}
