// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// doubts remembers the Runners whose last write may have happened although it returned an
// error. The cache does not wait for such a write, so a job that it gave away could be
// given away again to another runner. The zero value is empty.
type doubts struct {
	mutex sync.Mutex
	uids  map[types.UID]bool
}

// add notes that a write to the Runner had an unknown end.
func (d *doubts) add(runner *v1alpha1.Runner) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.uids == nil {
		d.uids = map[types.UID]bool{}
	}
	d.uids[runner.UID] = true
}

// resolve replaces the Runners in doubt by what the API server has, and ends the doubt
// about those that the cache has as well.
func (d *doubts) resolve(ctx context.Context, live client.Reader, runners []v1alpha1.Runner) error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for i := range runners {
		cached := &runners[i]
		if !d.uids[cached.UID] {
			continue
		}
		var current v1alpha1.Runner
		switch err := live.Get(ctx, client.ObjectKeyFromObject(cached), &current); {
		case apierrors.IsNotFound(err):
			delete(d.uids, cached.UID)
		case err != nil:
			return err
		case current.UID != cached.UID || current.ResourceVersion == cached.ResourceVersion:
			delete(d.uids, cached.UID)
		default:
			*cached = current
		}
	}
	return nil
}
