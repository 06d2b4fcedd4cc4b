// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const member, content = "dir/libonnxruntime.so", "the library"

// offer is a source that gives an archive made on the spot.
func offer(t *testing.T, name string, archive []byte, sum string) source {
	t.Helper()
	return source{
		name: name,
		fetch: func(dir string, _ platform) (string, error) {
			path := filepath.Join(dir, name)
			return path, os.WriteFile(path, archive, 0o600)
		},
		member: func(platform) string { return member },
		sha256: func(platform) string { return sum },
	}
}

func wheel(t *testing.T, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	if err != nil || z.Close() != nil {
		t.Fatal("zip:", err)
	}
	return b.Bytes()
}

func tarball(t *testing.T, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil || w.Close() != nil || g.Close() != nil {
		t.Fatal("tar:", err)
	}
	return b.Bytes()
}

func TestInstall(t *testing.T) {
	sum := sha256.Sum256([]byte(content))
	good, bad := hex.EncodeToString(sum[:]), strings.Repeat("0", 64)
	tests := map[string]struct {
		source  source
		wantErr string
	}{
		"from a wheel":                 {offer(t, "a.whl", wheel(t, member), good), ""},
		"from a tarball":               {offer(t, "a.tgz", tarball(t, member), good), ""},
		"from a tarball of ./ names":   {offer(t, "a.tgz", tarball(t, "./"+member), good), ""},
		"another digest":               {offer(t, "a.whl", wheel(t, member), bad), "want " + bad},
		"a wheel without the file":     {offer(t, "a.whl", wheel(t, "other"), good), "a.whl"},
		"a tarball without the file":   {offer(t, "a.tgz", tarball(t, "other"), good), "holds no " + member},
		"an archive that is not one":   {offer(t, "a.tgz", []byte("<html>no such page</html>"), good), "a.tgz: gzip"},
		"a wheel that was cut short":   {offer(t, "a.whl", wheel(t, member)[:20], good), "zip"},
		"a tarball that was cut short": {offer(t, "a.tgz", tarball(t, member)[:40], good), "EOF"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			library := filepath.Join(t.TempDir(), "libonnxruntime.so")
			err := install(tt.source, platform{libraryName: "libonnxruntime.so"}, library)
			got, _ := os.ReadFile(library)
			switch {
			case tt.wantErr == "" && (err != nil || string(got) != content):
				t.Errorf("installed %q, error %v", got, err)
			case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
				t.Errorf("error %v, want one that says %q", err, tt.wantErr)
			case tt.wantErr != "" && got != nil:
				t.Errorf("a library that was refused lies at its place: %q", got)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(library), ".fetch-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestAPlatformThatIsNotPinnedIsRefusedByName(t *testing.T) {
	err := run(t.TempDir(), "plan9/amd64", "")
	if err == nil || !strings.Contains(err.Error(), "plan9/amd64") || !strings.Contains(err.Error(), "ONNXRUNTIME_LIB") {
		t.Errorf("error %v, want one that names the platform and ONNXRUNTIME_LIB", err)
	}
}
