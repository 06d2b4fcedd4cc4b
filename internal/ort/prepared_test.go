// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/atelier-dev/atelier/internal/modelstore/cache"
)

// preparedTest is a runtime with a store of prepared graphs, and one graph to open.
type preparedTest struct {
	*testing.T
	dir, path string
	log       bytes.Buffer
	runtime   Runtime
	// reloaded has only graphs prepared that were loaded before.
	reloaded bool
}

// newPreparedTest copies a text encoder, which has large and small weights.
func newPreparedTest(t *testing.T) *preparedTest {
	t.Helper()
	p := &preparedTest{T: t, dir: t.TempDir(), path: filepath.Join(t.TempDir(), "model.onnx")}
	data, err := os.ReadFile("../../test/testdata/models/tiny/text_encoder/model.onnx")
	p.must(err)
	p.must(os.WriteFile(p.path, data, 0o600))
	p.restart()
	return p
}

func (p *preparedTest) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// restart makes another runtime over the same store, as another process would.
func (p *preparedTest) restart() {
	p.Helper()
	store, err := cache.Open(cache.Config{Dir: p.dir, KeepFree: -1}) // However full the disk is.
	p.must(err)
	p.log.Reset()
	p.open(store)
}

// open makes a runtime over a store.
func (p *preparedTest) open(store GraphStore) {
	p.runtime = New(Options{Device: CPU, Threads: 1, Graphs: store, PrepareReloaded: p.reloaded, Log: slog.New(slog.NewTextHandler(&p.log, nil))})
}

// run opens the graph, computes with it, and prepares what there is to prepare.
func (p *preparedTest) run() []float32 {
	p.Helper()
	session, err := openFile(p.runtime, p.path, "last_hidden_state")
	p.must(err)
	ids := &Tensor{Shape: []int64{1, 77}, I64: make([]int64, 77)}
	for i := range ids.I64 {
		ids.I64[i] = int64(7 * i % 100)
	}
	inputs := map[string]*Tensor{}
	for _, input := range session.Graph().Inputs {
		inputs[input.Name] = ids
	}
	out := NewFloat32(1, 77, session.Graph().Outputs[0].Shape[2])
	p.must(session.Run(p.Context(), inputs, map[string]*Tensor{"last_hidden_state": out}))
	p.must(session.Close())
	for found := true; found; {
		found, _ = p.runtime.(Preparer).Prepare(p.Context())
	}
	return out.F32
}

// entries are the prepared graphs in the store.
func (p *preparedTest) entries() []string {
	p.Helper()
	found, err := filepath.Glob(filepath.Join(p.dir, "derived", "*", preparedNote))
	p.must(err)
	return found
}

// usesIt says whether the graph that is opened next is the prepared one: of the two, only
// that one has its weights in a file that is mapped.
func (p *preparedTest) usesIt() bool {
	p.Helper()
	session, err := openFile(p.runtime, p.path, "last_hidden_state")
	p.must(err)
	defer func() { p.must(session.Close()) }()
	return session.(*onnxSession).release != nil
}

func TestPreparedGraphGivesTheSame(t *testing.T) {
	p := newPreparedTest(t)
	first := p.run()
	if len(p.entries()) != 1 {
		t.Fatalf("%d graphs were prepared; want 1: %s", len(p.entries()), &p.log)
	}
	p.restart()
	if !p.usesIt() {
		t.Fatalf("the prepared graph is not used: %s", &p.log)
	}
	if second := p.run(); !slices.Equal(first, second) {
		t.Error("the prepared graph computes something else")
	}
	if p.log.Len() > 0 {
		t.Errorf("using it says %s", &p.log)
	}
}

// TestPreparedGraphIsNoLargerThanWasSaid, for weights in float32 and in float16.
func TestPreparedGraphIsNoLargerThanWasSaid(t *testing.T) {
	for _, path := range []string{"../../test/testdata/models/tiny/text_encoder/model.onnx", "../../test/testdata/models/fluent-emoji/text_encoder/model.onnx"} {
		p := newPreparedTest(t)
		p.path = path
		p.run()
		graph, err := ReadGraph(path)
		p.must(err)
		_, most, err := p.runtime.(*onnxRuntime).identity(path, graph)
		p.must(err)
		files, err := filepath.Glob(filepath.Join(filepath.Dir(p.entries()[0]), "*"))
		p.must(err)
		size := int64(0)
		for _, file := range files {
			info, err := os.Stat(file)
			p.must(err)
			size += info.Size()
		}
		if size > most {
			t.Errorf("what was prepared of %s takes %d bytes; want %d at most", path, size, most)
		}
	}
}

// TestReloadedGraphIsPrepared where only those are: with the second load, of the same process
// or another, and again with the second one after what was prepared is gone.
func TestReloadedGraphIsPrepared(t *testing.T) {
	for name, between := range map[string]func(*preparedTest){"the same process": func(*preparedTest) {}, "another process": (*preparedTest).restart} {
		t.Run(name, func(t *testing.T) {
			p := newPreparedTest(t)
			p.reloaded = true
			p.restart()
			var first []float32
			for range 2 {
				first = p.run()
				if len(p.entries()) != 0 {
					t.Fatalf("it was prepared when it was loaded for the first time: %s", &p.log)
				}
				between(p)
				if second := p.run(); len(p.entries()) != 1 || !slices.Equal(first, second) {
					t.Fatalf("%d graphs were prepared when it was loaded again; want 1, and the same numbers: %s", len(p.entries()), &p.log)
				}
				between(p)
				if !p.usesIt() {
					t.Fatalf("the prepared graph is not used: %s", &p.log)
				}
				p.must(os.RemoveAll(filepath.Dir(p.entries()[0])))
				between(p)
			}
		})
	}
}

// TestReloadedGraphOfAnotherFileIsNotPrepared changes the file between two loads.
func TestReloadedGraphOfAnotherFileIsNotPrepared(t *testing.T) {
	p := newPreparedTest(t)
	p.reloaded = true
	p.restart()
	p.run()
	later := time.Now().Add(time.Hour)
	p.must(os.Chtimes(p.path, later, later))
	p.run()
	if len(p.entries()) != 0 {
		t.Errorf("%d graphs were prepared; want none", len(p.entries()))
	}
}

// TestPreparedGraphIsUsedWhereOnlyReloadedOnesAreMade finds what "runner convert" made.
func TestPreparedGraphIsUsedWhereOnlyReloadedOnesAreMade(t *testing.T) {
	p := newPreparedTest(t)
	p.run()
	p.reloaded = true
	p.restart()
	if !p.usesIt() {
		t.Errorf("the prepared graph is not used: %s", &p.log)
	}
}

// TestDamagedPreparedGraphIsMadeAgain damages each file in each way: what is opened is the
// model's own graph, with a warning, and then there is a good one again.
func TestDamagedPreparedGraphIsMadeAgain(t *testing.T) {
	flip := func(data []byte) []byte { data[len(data)/2] ^= 1; return data }
	for _, file := range []string{preparedGraph, preparedWeights, preparedNote} {
		for name, damage := range map[string]func([]byte) []byte{
			"flipped":   flip,
			"cut short": func(data []byte) []byte { return data[:len(data)-1] },
			"emptied":   func([]byte) []byte { return nil },
			"longer":    func(data []byte) []byte { return append(data, 'x') },
		} {
			t.Run(file+" "+name, func(t *testing.T) {
				p := newPreparedTest(t)
				want := p.run()
				victim := filepath.Join(filepath.Dir(p.entries()[0]), file)
				data, err := os.ReadFile(victim)
				p.must(err)
				p.must(os.Chmod(victim, 0o600))
				p.must(os.WriteFile(victim, damage(data), 0o600))
				p.restart()
				if got := p.run(); !slices.Equal(got, want) {
					t.Error("it computes something else")
				}
				if !strings.Contains(p.log.String(), "level=WARN") || !strings.Contains(p.log.String(), p.path) {
					t.Errorf("there is no warning that names %s: %s", p.path, &p.log)
				}
				p.restart()
				if !p.usesIt() {
					t.Errorf("it was not made again: %s", &p.log)
				}
			})
		}
	}
}

// TestForeignPreparedGraphIsNotUsed puts the graph of another model in the place of one.
func TestForeignPreparedGraphIsNotUsed(t *testing.T) {
	p := newPreparedTest(t)
	want := p.run()
	place := filepath.Dir(p.entries()[0])
	p.must(os.Rename(place, place+".mine"))
	own := p.path
	p.path = filepath.Join(t.TempDir(), "model.onnx")
	data, err := os.ReadFile("../../test/testdata/models/fluent-emoji/text_encoder/model.onnx")
	p.must(err)
	p.must(os.WriteFile(p.path, data, 0o600))
	p.run()
	for _, entry := range p.entries() {
		if dir := filepath.Dir(entry); dir != place+".mine" {
			p.must(os.Rename(dir, place))
		}
	}
	p.path = own
	p.restart()
	if got := p.run(); !slices.Equal(got, want) {
		t.Error("the graph of another model was used")
	}
}

func TestChangedFileIsPreparedAnew(t *testing.T) {
	p := newPreparedTest(t)
	p.run()
	data, err := os.ReadFile(p.path)
	p.must(err)
	changed := p.path + ".new"
	p.must(os.WriteFile(changed, data, 0o600))
	p.must(os.Rename(changed, p.path)) // The same name, size and bytes, but who knows.
	if p.usesIt() {
		t.Error("what was prepared of another file is used")
	}
}

// TestNothingIsPreparedWithoutRoom has a store that is too small: graphs open all the same,
// and it is said once.
func TestNothingIsPreparedWithoutRoom(t *testing.T) {
	p := newPreparedTest(t)
	store, err := cache.Open(cache.Config{Dir: p.dir, Capacity: 1000})
	p.must(err)
	p.open(store)
	p.run()
	p.run()
	if len(p.entries()) != 0 || strings.Count(p.log.String(), "full") != 1 {
		t.Errorf("%d graphs were prepared, and the log says %s", len(p.entries()), &p.log)
	}
}

func TestNothingIsPreparedWithoutMemory(t *testing.T) {
	machine := fstest.MapFS{
		"proc/meminfo":     {Data: []byte("MemTotal: 100 kB\nMemAvailable: 80 kB\n")},
		"proc/self/status": {Data: []byte("RssAnon:	 30 kB\n")},
	}
	if err := enoughMemory(70<<10, machine); err != nil {
		t.Errorf("70 KiB of the 70 that are left give %v", err)
	}
	if err := enoughMemory(70<<10+1, machine); err == nil || !strings.Contains(err.Error(), "71680 are left") {
		t.Errorf("one byte more than the 70 KiB that are left gives %v", err)
	}
	if err := enoughMemory(1<<40, fstest.MapFS{}); err != nil {
		t.Errorf("where nobody knows what is left it gives %v", err)
	}
}

// TestGraphThatKilledProcessesIsNotPreparedAgain finds what processes leave that die while
// they prepare a graph.
func TestGraphThatKilledProcessesIsNotPreparedAgain(t *testing.T) {
	p := newPreparedTest(t)
	p.run()
	place := filepath.Dir(p.entries()[0])
	p.must(os.RemoveAll(place))
	p.must(os.WriteFile(place+".tried", []byte("xxx"), 0o600))
	p.restart()
	p.run()
	if len(p.entries()) != 0 || !strings.Contains(p.log.String(), cache.ErrTried.Error()) {
		t.Errorf("%d graphs were prepared, and the log says %s", len(p.entries()), &p.log)
	}
}
