// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/atelier-dev/atelier/internal/modelstore"
)

// tarOf packs headers, each with as many zeros as it says.
func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, header := range headers {
		header.Mode = 0o644
		must(t, w.WriteHeader(&header))
		_, err := w.Write(make([]byte, header.Size))
		must(t, err)
	}
	must(t, w.Close())
	return out.Bytes()
}

func zipOf(t *testing.T, headers ...zip.FileHeader) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, header := range headers {
		entry, err := w.CreateHeader(&header)
		must(t, err)
		_, err = entry.Write([]byte("x"))
		must(t, err)
	}
	must(t, w.Close())
	return out.Bytes()
}

// TestHostileArchives gives archives that are what their digest says and do harm, or are
// broken: each is refused as a defect of the model, and leaves nothing behind.
func TestHostileArchives(t *testing.T) {
	index := tar.Header{Typeflag: tar.TypeReg, Name: "model_index.json", Size: 2}
	file := func(name string, size int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size}
	}
	link := zip.FileHeader{Name: "link"}
	link.SetMode(os.ModeSymlink | 0o777)
	many := []tar.Header{index}
	for i := range maxFiles {
		many = append(many, file(fmt.Sprintf("f%d", i), 0))
	}
	folders := []tar.Header{}
	for i := range maxEntries + 1 {
		folders = append(folders, tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("d%d/", i)})
	}
	lie := bytes.Replace(zipOf(t, zip.FileHeader{Name: "model_index.json", Method: zip.Store}), []byte("PK\x01\x02"), []byte("PK\x01\x02"), 1)
	// The size in the central directory says 100 bytes where there is one.
	at := bytes.Index(lie, []byte("PK\x01\x02"))
	lie[at+24] = 100
	for _, test := range []struct {
		name string
		data []byte
		text string
	}{
		{"up", tarOf(t, index, file("../evil", 1)), "no path inside"},
		{"up and down", tarOf(t, index, file("a/../../evil", 1)), "no path inside"},
		{"absolute", tarOf(t, index, file("/etc/evil", 1)), "no path inside"},
		{"backslash", tarOf(t, index, file(`..\evil`, 1)), "no path inside"},
		{"the directory itself", tarOf(t, index, file(".", 1)), "no path inside"},
		{"not UTF-8", tarOf(t, index, file("a\xff", 1)), "not UTF-8"},
		{"long", tarOf(t, index, file(strings.Repeat("a/", 600)+"b", 1)), "at most 1024"},
		{"symbolic link", tarOf(t, index, tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/etc"}), "link or a device"},
		{"hard link", tarOf(t, index, tar.Header{Typeflag: tar.TypeLink, Name: "a", Linkname: "/etc/passwd"}), "link or a device"},
		{"device", tarOf(t, index, tar.Header{Typeflag: tar.TypeChar, Name: "a"}), "link or a device"},
		{"pipe", tarOf(t, index, tar.Header{Typeflag: tar.TypeFifo, Name: "a"}), "link or a device"},
		{"twice", tarOf(t, index, file("a", 1), file("a", 1)), "is there twice"},
		{"twice by another name", tarOf(t, index, file("a", 1), file("b/../a", 1)), "is there twice"},
		{"file as directory", tarOf(t, index, file("a", 1), file("a/b", 1)), "is there twice, or as a file and as a directory"},
		{"directory as file", tarOf(t, index, file("a/b", 1), file("a", 1)), "is there twice, or as a file and as a directory"},
		{"many files", gzipped(t, tarOf(t, many...)), "more than 1000 files"},
		{"many directories", gzipped(t, tarOf(t, folders...)), "more than 2000 files and directories"},
		{"bomb", gzipped(t, tarOf(t, index, file("zeros", 9<<20))), "takes more than 8388608 bytes"},
		{"bomb in zstd", zstandard(t, tarOf(t, index, file("zeros", 9<<20))), "takes more than 8388608 bytes"},
		{"cut tar", tarOf(t, index, file("a", 4000))[:3000], "can't be unpacked"},
		{"cut gzip", gzipped(t, tarOf(t, index, file("a", 4000)))[:60], "can't be unpacked"},
		{"cut zstd", zstandard(t, tarOf(t, index, file("a", 4000)))[:40], "can't be unpacked"},
		{"cut zip", zipped(t, model(1, 1000))[:500], "can't be unpacked"},
		{"no archive", []byte(noise(1, 5000)), "can't be unpacked"},
		{"empty", nil, "model_index.json"},
		{"up in a zip", zipOf(t, zip.FileHeader{Name: "../evil"}), "no path inside"},
		{"absolute in a zip", zipOf(t, zip.FileHeader{Name: "/evil"}), "no path inside"},
		{"link in a zip", zipOf(t, link), "link or a device"},
		{"zip that states another size", lie, "model_index.json"},
		{"no model", tarOf(t, file("README", 1)), "model_index.json is missing"},
		{"model two folders down", tarOf(t, file("a/b/model_index.json", 2)), "is missing at the top"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := quick(t)
			config.MaxModel = 8 << 20
			c := open(t, config)
			_, err := pull(t, c, web(t, test.data).http(sha(test.data)))
			var defect *modelstore.ModelError
			if !errors.As(err, &defect) || !strings.Contains(strings.ReplaceAll(err.Error(), ": is missing", " is missing"), test.text) {
				t.Errorf("error is %v; want a ModelError with %q", err, test.text)
			}
			expectNoModel(t, c)
		})
	}
}

// expectNoModel checks that no model was made and nothing is promised, and that what is
// left is thrown away when the room is wanted.
func expectNoModel(t *testing.T, c *Cache) {
	t.Helper()
	for _, dir := range []string{"models", "staging"} {
		if left, err := names(c.path(dir)); err != nil || len(left) > 0 {
			t.Errorf("%s has %v (%v); want nothing", dir, left, err)
		}
	}
	if _, err := c.Prune(0); err != nil {
		t.Error(err)
	}
	expectNothing(t, c)
}

// TestMutatedArchives changes a byte here and there: whatever becomes of it, the process
// goes on, and nothing is written outside the cache.
func TestMutatedArchives(t *testing.T) {
	plain := model(1, 3000).tar(t, "")
	for name, data := range map[string][]byte{"tar": plain, "tar.gz": gzipped(t, plain), "tar.zst": zstandard(t, plain), "zip": zipped(t, model(1, 3000))} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			config := quick(t)
			config.Dir, config.MaxModel = dir+"/cache", 1<<20
			c := open(t, config)
			for i := range 60 {
				mutated := bytes.Clone(data)
				for k := range 1 + i%3 {
					mutated[(i*7919+k*104729)%len(mutated)] ^= byte(1 + i*31%255)
				}
				m, err := c.Pull(t.Context(), web(t, mutated).http(sha(mutated)), "", func(int64, int64) {})
				var defect *modelstore.ModelError
				switch {
				case err == nil:
					must(t, m.Verify())
					m.Release()
				case !errors.As(err, &defect):
					t.Errorf("mutation %d: %v; want a ModelError", i, err)
				}
			}
			if outside, _ := names(dir); len(outside) != 1 {
				t.Errorf("beside the cache there is %v", outside)
			}
		})
	}
}
