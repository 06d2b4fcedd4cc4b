// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// perPool is what this process remembers of each pool. The zero value knows of none.
type perPool[T any] struct {
	mutex sync.Mutex
	pools map[types.NamespacedName]T
}

// get returns what is remembered of a pool, and whether anything is.
func (p *perPool[T]) get(pool types.NamespacedName) (what T, known bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	what, known = p.pools[pool]
	return what, known
}

// set replaces what is remembered of a pool.
func (p *perPool[T]) set(pool types.NamespacedName, what T) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.pools == nil {
		p.pools = map[types.NamespacedName]T{}
	}
	p.pools[pool] = what
}

// forget drops what is remembered of a pool.
func (p *perPool[T]) forget(pool types.NamespacedName) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.pools, pool)
}
