// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// GPUResource is the extended resource that GPU nodes offer.
const GPUResource corev1.ResourceName = "nvidia.com/gpu"

// gpus says which of the node's GPUs are taken, by index.
type gpus struct {
	mu    sync.Mutex
	taken []bool
}

func newGPUs(count int) *gpus { return &gpus{taken: make([]bool, count)} }

// take gives a pod the GPUs its containers ask for.
func (g *gpus) take(pod *corev1.Pod) ([]int, error) {
	want := 0
	for _, container := range pod.Spec.Containers {
		limit := container.Resources.Limits[GPUResource]
		want += int(limit.Value())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var given []int
	for i, taken := range g.taken {
		if !taken && len(given) < want {
			given = append(given, i)
		}
	}
	if len(given) < want {
		return nil, fmt.Errorf("allocate failed: the pod wants %d %s, of which %d are free", want, GPUResource, len(given))
	}
	for _, i := range given {
		g.taken[i] = true
	}
	return given, nil
}

// give takes GPUs back.
func (g *gpus) give(indices []int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, i := range indices {
		g.taken[i] = false
	}
}
