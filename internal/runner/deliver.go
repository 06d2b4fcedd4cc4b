// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/bucket"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/modelstore/cache"
	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// store delivers models that are not on the models volume. One work at a time uses it.
type store struct {
	cache       *cache.Cache
	credentials fetch.Credentials
	// storesDir has a directory for the credentials of each store of the pool.
	storesDir string
	// held are the models of the cache in use: the one that is loaded, and the one that
	// is to be.
	held []*cache.Model
}

// errNoCache is said where a pool's runners can't fetch models.
var errNoCache = errors.New("this runner has no cache to fetch models into; --cache-dir must name one")

// remote is where an assignment's model is published.
func (s *store) remote(assigned *v1alpha1.AssignedModel) (fetch.Remote, error) {
	switch source := assigned.Source; {
	case source.OCI != nil:
		return fetch.NewOCI(source.OCI.Reference, source.OCI.Insecure, s.credentials)
	case source.HTTP != nil:
		return fetch.NewHTTP(source.HTTP.URL, source.HTTP.SHA256, s.credentials)
	}
	config, err := s.modelBucket(assigned)
	if err != nil {
		return nil, err
	}
	return fetch.NewBucket(config, assigned.Source.Bucket.SHA256)
}

// modelBucket is where the bucket of a model is. A server that is the Model's idea alone
// gets no credentials; a cloud's own gets those in the runner's surroundings.
func (s *store) modelBucket(assigned *v1alpha1.AssignedModel) (bucket.Config, error) {
	source, from := assigned.Source.Bucket, assigned.Store
	config := bucket.Config{URL: source.URL, Endpoint: source.Endpoint, Region: source.Region, PathStyle: source.PathStyle,
		Anonymous: from == nil && source.Endpoint != ""}
	if from == nil {
		return config, nil
	}
	config.Region, config.PathStyle = cmp.Or(source.Region, from.Region), source.PathStyle || from.PathStyle
	var err error
	config.CredentialsDir, err = s.credentialsDir(from)
	return config, err
}

// isPublished reports whether a model is to be fetched, and not on the models volume.
func isPublished(source v1alpha1.ModelSource) bool {
	return source.OCI != nil || source.HTTP != nil || source.Bucket != nil
}

// progress is told how many of a model's bytes have arrived.
type progress = func(done, total int64)

// fetch takes a model into use, and fetches it where the cache does not have it. begin is
// told first what is fetched, and from where.
func (s *store) fetch(ctx context.Context, assigned *v1alpha1.AssignedModel, begin func(remote fetch.Remote, manifest fetch.Manifest) progress) (*cache.Model, error) {
	if assigned.Digest != "" {
		if m, err := s.cache.Use(ctx, assigned.Digest); m != nil || err != nil {
			return m, err
		}
	}
	remote, err := s.remote(assigned)
	if err != nil {
		return nil, err
	}
	manifest, err := s.cache.Resolve(ctx, remote, assigned.Digest)
	if err != nil {
		return nil, err
	}
	return s.cache.Fetch(ctx, remote, manifest, begin(remote, manifest))
}

// digest is that of the model in a directory of the cache; "" for any other directory.
func (s *store) digest(dir string) string {
	if i := s.find(dir); i >= 0 {
		return s.held[i].Record.Digest
	}
	return ""
}

// hold keeps a model from being thrown away.
func (s *store) hold(m *cache.Model) {
	if s.find(m.Dir) >= 0 {
		m.Release()
		return
	}
	s.held = append(s.held, m)
}

func (s *store) find(dir string) int {
	return slices.IndexFunc(s.held, func(m *cache.Model) bool { return m.Dir == dir })
}

// keepOnly lets go of all models but the one in dir.
func (s *store) keepOnly(dir string) {
	s.held = slices.DeleteFunc(s.held, func(m *cache.Model) bool {
		if m.Dir == dir {
			return false
		}
		m.Release()
		return true
	})
}

// dir is where the assignment's model is, or will be; "" where its digest is not known.
func (w *work) dir(assigned *v1alpha1.AssignedModel) (string, error) {
	source := assigned.Source
	switch {
	case !isPublished(source):
		return modelstore.Resolve(w.modelsDir, source.Path)
	case w.store.cache == nil:
		return "", errNoCache
	case assigned.Digest == "":
		return "", nil
	}
	return w.store.cache.Dir(assigned.Digest)
}

// deliver brings the assignment's model into the cache, unless it is on the models volume,
// and holds it there. Where it was not known, model then has its Dir, and the status says
// that another model that is loaded is about to go.
//
// A cache that has room for one model only is emptied of the loaded one, which is about
// to go anyway.
func (w *work) deliver(ctx context.Context, model *pipeline.Model) error {
	if !isPublished(w.assignment.Model.Source) {
		return nil
	}
	got, err := w.pull(ctx)
	var full *cache.FullError
	if _, loaded := w.pipeline.Loaded(); errors.As(err, &full) && loaded && len(w.store.held) > 0 {
		if err := w.unload(ctx); err != nil {
			return err
		}
		w.letGo()
		got, err = w.pull(ctx)
	}
	if err != nil {
		return err
	}
	w.store.hold(got)
	if model.Dir == got.Dir {
		return nil
	}
	model.Dir = got.Dir
	if !w.isLoaded(*model) {
		w.edit(now, func(s *v1alpha1.RunnerStatus, _ *v1alpha1.AssignmentReport) { s.Model = nil })
	}
	return w.ledger.sync(ctx)
}

// pull takes the assignment's model into use, and fetches it where the cache does not have
// it. What the source names is reported as soon as it is known, so that all other runners
// use the same, and then how much of it has arrived.
func (w *work) pull(ctx context.Context) (*cache.Model, error) {
	report := func(when urgency, pull v1alpha1.ModelPull) {
		w.edit(when, func(_ *v1alpha1.RunnerStatus, r *v1alpha1.AssignmentReport) { r.Pull = &pull })
	}
	var begun time.Time
	m, err := w.store.fetch(ctx, &w.assignment.Model, func(remote fetch.Remote, manifest fetch.Manifest) progress {
		w.log.Info("Fetching model", "model", w.assignment.Model.Name, "source", remote.String(), "digest", manifest.Digest, "bytes", manifest.Size())
		begun = w.clock.Now()
		report(now, v1alpha1.ModelPull{Digest: manifest.Digest, TotalBytes: manifest.Size()})
		return func(done, total int64) {
			report(soon, v1alpha1.ModelPull{Digest: manifest.Digest, DoneBytes: done, TotalBytes: total})
		}
	})
	if err == nil && !begun.IsZero() {
		w.log.Info("Model fetched", "model", w.assignment.Model.Name, "seconds", w.clock.Since(begun).Seconds())
	}
	return m, err
}

// letGo lets the cache throw away what the pipeline does not have.
func (w *work) letGo() {
	loaded, _ := w.pipeline.Loaded()
	w.store.keepOnly(loaded.Dir)
}

// facts are what the files of the model that was just loaded say of it. The size is not
// worth a failure.
func (w *work) facts(model pipeline.Model) v1alpha1.ModelFacts {
	known := w.pipeline.Facts()
	facts := v1alpha1.ModelFacts{Family: known.Family, Parameters: known.Parameters}
	dir, err := modelstore.Open(model.Dir)
	if err == nil {
		facts.SizeBytes, err = dir.Size()
		_ = dir.Close() // Only read from.
	}
	if err != nil {
		w.log.Warn("Size of model not known", "error", err)
	}
	return facts
}
