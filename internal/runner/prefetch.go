// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"sync"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/memory"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
)

// prefetchShare is how large a part of the memory that the process can have a model may be
// to be read before it is wanted. A larger one would push out what is being worked with.
const prefetchShare = 0.25

// nextModel is what to prefetch while an assignment is worked on: the model of the one that
// comes after it, else what the manager names; nil for none.
func nextModel(spec *v1alpha1.RunnerSpec, current *v1alpha1.Assignment) *v1alpha1.AssignedModel {
	next := spec.Prefetch
	for i, a := range spec.Assignments[:max(len(spec.Assignments)-1, 0)] {
		if a.UID == current.UID {
			next = &spec.Assignments[i+1].Model
		}
	}
	if next == nil || next.UID == current.Model.UID && next.Generation == current.Model.Generation {
		return nil
	}
	return next.DeepCopy()
}

// prefetch brings the model that is wanted next into the cache and into memory, beside the
// drawing. The function that it returns ends that and waits for the end: what has arrived
// by then is not fetched again. Nothing depends on it, so that an error is only logged.
func (w *work) prefetch(ctx context.Context) (stop func()) {
	if w.next == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var bringing sync.WaitGroup
	bringing.Go(func() {
		err := w.bring(ctx, w.next)
		if ctx.Err() != nil {
			return
		}
		w.metrics.prefetched(err)
		if err != nil {
			w.log.Warn("Model not prefetched", "nextModel", w.next.Name, "error", err)
			return
		}
		w.log.Info("Model prefetched", "nextModel", w.next.Name)
	})
	return func() {
		cancel()
		bringing.Wait()
	}
}

// bring has a model's files in the cache, unless they are on the models volume, and reads
// them once, so that the system has them in memory.
func (w *work) bring(ctx context.Context, model *v1alpha1.AssignedModel) (err error) {
	defer func() {
		if value := recover(); value != nil {
			w.log.Error("Prefetching panicked", "panic", value, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", value)
		}
	}()
	var folder string
	switch {
	case !isPublished(model.Source):
		folder, err = modelstore.Resolve(w.modelsDir, model.Source.Path)
	case w.store.cache == nil:
		err = errNoCache
	default:
		got, fetchErr := w.store.fetch(ctx, model, func(fetch.Remote, fetch.Manifest) progress { return func(int64, int64) {} })
		if fetchErr != nil {
			return fetchErr
		}
		defer got.Release()
		folder = got.Dir
	}
	if err != nil {
		return err
	}
	dir, err := modelstore.Open(folder)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // Only read from.
	size, err := dir.Size()
	limit := memory.ReadLimit(os.DirFS("/")).Bytes
	if err != nil || limit > 0 && float64(size) > prefetchShare*float64(limit) {
		return err
	}
	return dir.Warm(ctx)
}
