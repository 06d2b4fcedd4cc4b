// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/bucket"
)

// place is where pictures are written: the same name and bytes give the same file, however
// often, and no one sees a part of one.
type place interface {
	// put writes one file. It may try again as retry says. url is empty where the path
	// says everything.
	put(ctx context.Context, name string, format artifact.Format, data []byte, retry bucket.Retry) (file artifact.File, url string, err error)
	close()
}

// openPlace finds out where the assignment's pictures go, and before any work is done
// whether there are credentials for that.
func (w *work) openPlace(ctx context.Context) (place, error) {
	store := w.assignment.Store
	if store == nil {
		return volume{dir: w.outputsDir, again: w.assignment.Attempt > 1}, nil
	}
	config := bucket.Config{URL: store.URL, Endpoint: store.Endpoint, Region: store.Region, PathStyle: store.PathStyle}
	var err error
	if config.CredentialsDir, err = w.store.credentialsDir(store); err != nil {
		return nil, err
	}
	b, err := bucket.Open(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("store %q: %w", store.Name, err)
	}
	return inBucket{b}, nil
}

// credentialsDir is where the credentials of a store are mounted; "" where it has no Secret.
func (s *store) credentialsDir(of *v1alpha1.OutputStore) (string, error) {
	switch {
	case of.SecretRef == nil:
		return "", nil
	case s.storesDir == "":
		return "", fmt.Errorf("store %q: this runner has no credentials for stores; it was started before the pool's store had secretRef", of.Name)
	}
	return filepath.Join(s.storesDir, of.Name), nil
}

// volume is the outputs volume.
type volume struct {
	dir string
	// again means that this is not the first attempt at the job. Only then can there be a part
	// of its picture: that is left where a process is killed while it saves, and none goes on
	// with the attempt of another, so that whoever saves the picture next has a number above 1.
	// Looking for it reads the whole folder, which jobs may share and fill with pictures.
	again bool
}

func (v volume) put(_ context.Context, name string, _ artifact.Format, data []byte, _ bucket.Retry) (file artifact.File, url string, err error) {
	save := artifact.Save
	if v.again {
		save = artifact.SaveAgain
	}
	file, err = save(v.dir, name, data)
	return file, "", err
}

func (volume) close() {}

// inBucket is a store.
type inBucket struct{ *bucket.Bucket }

func (b inBucket) put(ctx context.Context, name string, format artifact.Format, data []byte, retry bucket.Retry) (artifact.File, string, error) {
	if !filepath.IsLocal(name) {
		return artifact.File{}, "", fmt.Errorf("saving %q: the key must stay below the store's URL", name)
	}
	object, err := b.Put(ctx, name, "image/"+strings.ToLower(string(format)), data, retry)
	return artifact.File{Path: name, SHA256: object.SHA256, SizeBytes: object.SizeBytes}, object.URL, err
}

func (b inBucket) close() { _ = b.Close() } // All that was written is there already.
