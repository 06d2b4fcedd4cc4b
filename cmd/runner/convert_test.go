// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/atelier-dev/atelier/internal/modelstore/cache"
)

// TestConvertPreparesOnce converts a model of the cache by its source and again by its
// digest, and a directory.
func TestConvertPreparesOnce(t *testing.T) {
	dir := t.TempDir()
	address, sum := serveZip(t)
	if _, _, err := run(t, "pull", address, "--sha256", sum, "--cache-dir", dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ model, want string }{
		{address, "3 graphs prepared; the model loads in 0."},
		{"sha256:" + sum, "all graphs are prepared already; the model loads in 0."},
		{tiny, "3 graphs prepared; the model loads in 0."},
		{tiny, "all graphs are prepared already; the model loads in 0."},
	} {
		stdout, stderr, err := run(t, "convert", c.model, "--cache-dir", dir)
		if full, ok := errors.AsType[*cache.FullError](err); ok && full.KeepFree > 0 {
			t.Skipf("this disk is too full: %v", err)
		}
		if err != nil || stderr != "" || !strings.HasPrefix(stdout, c.want) {
			t.Errorf("converting %s prints %q (%v, %q), want %q…", c.model, stdout, err, stderr, c.want)
		}
	}
}

func TestConvertNeedsRoomAndAModel(t *testing.T) {
	if _, _, err := run(t, "convert", tiny, "--cache-dir", t.TempDir(), "--cache-capacity", "100"); err == nil || !strings.Contains(err.Error(), "model.onnx") {
		t.Errorf("a cache without room gives %v, want an error that names a graph", err)
	}
	if _, _, err := run(t, "convert", "nothing", "--cache-dir", t.TempDir()); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("a model that is not there gives %v", err)
	}
}
