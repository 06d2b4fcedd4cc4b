// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/atelier-dev/atelier/internal/modelstore/cache"
	"github.com/atelier-dev/atelier/internal/ort"
)

// graphStore is a store of prepared graphs that counts how many were found.
type graphStore struct {
	*cache.Cache
	mu    sync.Mutex
	found int
}

// UseDerived counts.
func (s *graphStore) UseDerived(key string) (string, func(), error) {
	dir, release, err := s.Cache.UseDerived(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if dir != "" {
		s.found++
	}
	return dir, release, err
}

// newPreparing makes a pipeline over a store of prepared graphs in dir, with its log.
func newPreparing(t *testing.T, dir string) (*Pipeline, *graphStore, *bytes.Buffer) {
	t.Helper()
	c, err := cache.Open(cache.Config{Dir: dir, KeepFree: -1}) // However full the disk is.
	if err != nil {
		t.Fatal(err)
	}
	store, log := &graphStore{Cache: c}, &bytes.Buffer{}
	p := New(ort.New(ort.Options{Device: ort.CPU, Graphs: store, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))}))
	t.Cleanup(func() {
		if err := p.Unload(); err != nil {
			t.Error(err)
		}
	})
	return p, store, log
}

// drawOne loads a model and draws a picture, and gives its pixels.
func drawOne(t *testing.T, p *Pipeline, model Model) []byte {
	t.Helper()
	if err := p.Load(t.Context(), model); err != nil {
		t.Fatal(err)
	}
	r := request()
	r.Width, r.Height, r.Steps = 0, 0, 2
	result, err := p.Generate(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return result.Pictures[0].Image.Pix
}

// TestPreparedGraphsDrawTheSame draws with every kind of model there is, first with its own
// graphs and then with prepared ones. What the first picture must be, the goldens say.
func TestPreparedGraphsDrawTheSame(t *testing.T) {
	models := []Model{testModel(t, tiny), testModel(t, "fluent-emoji")}
	layouts, err := filepath.Glob(filepath.Join(goldensDir, "layouts", "*", "model"))
	if err != nil || len(layouts) == 0 {
		t.Fatalf("there are no other layouts (%v)", err)
	}
	for _, dir := range layouts {
		models = append(models, Model{Name: filepath.Base(filepath.Dir(dir)), Dir: dir})
	}
	for _, model := range models {
		t.Run(model.Name, func(t *testing.T) {
			dir := t.TempDir()
			p, _, log := newPreparing(t, dir)
			want := drawOne(t, p, model)
			if _, err := p.PrepareAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			again, store, secondLog := newPreparing(t, dir)
			if got := drawOne(t, again, model); !bytes.Equal(got, want) {
				t.Error("the picture differs")
			}
			sessions := 3
			if again.current().textEncoder2 != nil {
				sessions = 4
			}
			if store.found != sessions {
				t.Errorf("%d of %d graphs were found prepared", store.found, sessions)
			}
			if log.Len()+secondLog.Len() > 0 {
				t.Errorf("it was said: %s%s", log, secondLog)
			}
		})
	}
}

// TestGraphsArePreparedAfterDrawing runs Prepare beside the pipeline, as a runner does.
func TestGraphsArePreparedAfterDrawing(t *testing.T) {
	dir := t.TempDir()
	p, _, _ := newPreparing(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { p.Prepare(ctx); close(ended) }()
	prepared := func() int {
		found, err := filepath.Glob(filepath.Join(dir, "derived", "*", "record.json"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	if err := p.Load(t.Context(), testModel(t, tiny)); err != nil {
		t.Fatal(err)
	}
	if n := prepared(); n != 0 {
		t.Errorf("%d graphs were prepared before anything was drawn", n)
	}
	drawOne(t, p, testModel(t, tiny))
	eventually(t, func() bool { return prepared() == 3 })
	cancel()
	<-ended
	if _, err := os.Stat(filepath.Join(dir, "staging")); err != nil {
		t.Error(err)
	}
}

// eventually waits until ok, which must be within a minute.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it did not come to that within a minute")
		}
	}
}
