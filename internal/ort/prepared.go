// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"

	"github.com/atelier-dev/atelier/internal/memory"
)

// A prepared graph is what ONNX Runtime makes of a graph when it loads it: optimised, with
// its weights in the layout of the kernels. Loading that again takes no optimisation, and
// no memory for weights: they are mapped from the file.

// GraphStore keeps prepared graphs by key.
type GraphStore interface {
	// UseDerived gives the folder of a key, which stays until release; "" for none.
	UseDerived(key string) (dir string, release func(), err error)
	// MakeDerived has fill write about size bytes to a folder, and keeps them as that of
	// the key. It does nothing where there is one, or another process is at it.
	MakeDerived(key string, size int64, fill func(dir string) error) error
	// NoteLoaded notes that the graph of a key was loaded and not prepared, and says whether
	// that was noted before.
	NoteLoaded(key string) (again bool, err error)
	// DropDerived throws the folder of a key away.
	DropDerived(key string) error
	// Pinned names the content of a file, where that never changes; "" where it may.
	Pinned(file string) string
}

// Preparer is a Runtime that can prepare the graphs it has opened for the next time.
type Preparer interface {
	// Prepare prepares one graph that was opened and is not prepared. It is false when
	// there is none. An error is of that one graph and was logged: loading it stays slower.
	Prepare(ctx context.Context) (found bool, err error)
}

// pending are graphs that were opened and are not prepared.
type pending struct {
	mu   sync.Mutex
	list []unprepared
	// seen are the keys of those in the list, and of those that were tried.
	seen map[string]bool
}

// unprepared is a graph to prepare.
type unprepared struct {
	path, key, id string
	size          int64
}

// add notes a graph, once.
func (p *pending) add(u unprepared) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[u.key] {
		return
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[u.key] = true
	p.list = append(p.list, u)
}

// next takes a graph out.
func (p *pending) next() (unprepared, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == 0 {
		return unprepared{}, false
	}
	u := p.list[0]
	p.list = p.list[1:]
	return u, true
}

// forget lets a graph be noted again.
func (p *pending) forget(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.seen, key)
}

// openPrepared opens the prepared graph of the file at path; nil where there is none, which is
// noted. One that is damaged is thrown away: it is never a failure.
func (r *onnxRuntime) openPrepared(path string, graph Graph, threads int) *onnxSession {
	id, size, err := r.identity(path, graph)
	if err != nil {
		r.log().Warn("Prepared graphs can't be used", "file", path, "error", err)
		return nil
	}
	u := unprepared{path: path, key: hashed(id), id: id, size: size}
	dir, release, err := r.options.Graphs.UseDerived(u.key)
	if err == nil && dir == "" {
		r.missing(u)
		return nil
	}
	if err == nil {
		var session *onnxSession
		if session, err = r.openVerified(dir, id, graph, threads); err == nil {
			session.release = release
			return session
		}
		release()
		r.pending.forget(u.key)
		r.pending.add(u)
		err = errors.Join(err, r.options.Graphs.DropDerived(u.key))
	}
	r.log().Warn("Prepared graph can't be used; loading the model's own", "file", path, "error", err)
	return nil
}

// missing has a graph prepared that is not, now or when it is loaded again.
func (r *onnxRuntime) missing(u unprepared) {
	if r.options.PrepareReloaded {
		again, err := r.options.Graphs.NoteLoaded(u.key)
		if err != nil {
			r.log().Warn("Graph not prepared; its loads can't be noted", "file", u.path, "error", err)
		}
		if err != nil || !again {
			return
		}
	}
	r.pending.add(u)
}

// openVerified opens a prepared graph. Its weights are compared with what was written while
// ONNX Runtime maps them, which also brings them into memory in the order of the disk.
func (r *onnxRuntime) openVerified(dir, id string, graph Graph, threads int) (*onnxSession, error) {
	record, err := readPreparedRecord(dir, id)
	if err != nil {
		return nil, err
	}
	damaged := make(chan error, 1)
	go func() { damaged <- record.checkWeights(dir) }()
	session, err := newSession(filepath.Join(dir, preparedGraph), graph, sessionConfig{threads: threads, level: onnx.GraphOptimizationLevelDisableAll})
	if err = errors.Join(err, <-damaged); err != nil {
		if session != nil {
			err = errors.Join(err, session.Close())
		}
		return nil, err
	}
	return session, nil
}

// Prepare prepares one graph that was opened.
func (r *onnxRuntime) Prepare(ctx context.Context) (found bool, err error) {
	if ctx.Err() != nil {
		return false, nil
	}
	u, ok := r.pending.next()
	if !ok {
		return false, nil
	}
	if err = enoughMemory(u.size, os.DirFS("/")); err == nil {
		err = r.options.Graphs.MakeDerived(u.key, u.size, func(dir string) error { return prepareGraph(u, dir) })
	}
	if err != nil {
		r.log().Warn("Graph not prepared; loading it stays slower", "file", u.path, "error", err)
		return true, fmt.Errorf("%s: %w", u.path, err)
	}
	r.pending.forget(u.key) // It may be thrown away for want of room, and wanted again.
	r.log().Info("Graph prepared", "file", u.path)
	return true, nil
}

// enoughMemory refuses to prepare a graph that would take more memory than there is left:
// pictures are drawn beside it. Preparing takes the weights, and once more what ONNX Runtime
// makes of them, which is what the prepared graph takes at most.
func enoughMemory(size int64, root fs.FS) error {
	if left, known := memory.Available(root); known && size > left {
		return fmt.Errorf("preparing it may take %d bytes of memory, and %d are left", size, left)
	}
	return nil
}

// prepareGraph has ONNX Runtime write what it makes of a graph to a folder.
func prepareGraph(u unprepared, dir string) error {
	graph, err := ReadGraph(u.path)
	if err != nil {
		return err
	}
	// One thread: others draw meanwhile.
	session, err := newSession(u.path, graph, sessionConfig{threads: 1, level: optimization, save: filepath.Join(dir, preparedGraph)})
	if err != nil {
		return err
	}
	if err := session.Close(); err != nil {
		return err
	}
	return writePreparedRecord(dir, u.id)
}

func (r *onnxRuntime) log() *slog.Logger {
	if r.options.Log != nil {
		return r.options.Log
	}
	return slog.New(slog.DiscardHandler)
}

// growth is how much larger a prepared graph is than its files, or than its weights in
// float32, in which it has those in float16 too; at most, as far as is known: the weights that
// have another layout are in it twice.
const growth = 2

// identity says what a prepared graph is made of and how, and how large it may be. Graphs
// with equal identities are equal.
func (r *onnxRuntime) identity(path string, graph Graph) (id string, size int64, err error) {
	processor, err := processorFeatures()
	if err != nil {
		return "", 0, err
	}
	id = fmt.Sprintf("prepared graph %d\nONNX Runtime %s\nlevel %d, prepacked\nprocessor %s\n", preparedVersion, onnx.GetVersion(), optimization, processor)
	files := []string{path}
	for _, external := range graph.External {
		files = append(files, filepath.Join(filepath.Dir(path), filepath.FromSlash(external.Name)))
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return "", 0, err
		}
		size += info.Size()
		content := r.options.Graphs.Pinned(file)
		if content == "" {
			content = file + " " + version(info)
		}
		id += "file " + content + "\n"
	}
	return id, growth * max(size, 4*graph.Parameters), nil
}

func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
