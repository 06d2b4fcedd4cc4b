// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// takenOver remembers the pools of which this manager's cache has all that another one may
// have written before it.
//
// The cache of a manager that begins to lead may be behind by any time: who stands by has
// filled it by watches that may be late, and a new process may have listed from an API server
// that was. Its own writes the cache waits for, but not those of the manager before it. A
// binding that it misses would be given away again, and the Runner of a pod that it misses
// would be deleted as lost.
type takenOver struct{ perPool[struct{}] }

// takeOver returns an error until the cache has each Runner of a pool as its spec is at the
// API server, and each pod. It asks once for each pool in the life of a process, where the
// cache is not behind.
func (r *PoolReconciler) takeOver(ctx context.Context, view *poolView) error {
	key := client.ObjectKeyFromObject(view.pool)
	if _, done := r.takenOver.get(key); done {
		return nil
	}
	var runners v1alpha1.RunnerList
	var pods corev1.PodList
	if err := errors.Join(
		r.Live.List(ctx, &runners, client.InNamespace(key.Namespace)),
		r.Live.List(ctx, &pods, client.InNamespace(key.Namespace), client.MatchingLabels{labelManagedBy: managedBy, v1alpha1.LabelPool: key.Name}),
	); err != nil {
		return err
	}
	if behind := missing(view, runners.Items, pods.Items); behind != "" {
		return fmt.Errorf("the cache has still to hear of %s, which was written before this manager began to lead", behind)
	}
	r.takenOver.set(key, struct{}{})
	return nil
}

// missing names the first of a pool's Runners and pods of which a view lacks what the API
// server has; empty where it lacks nothing.
func missing(view *poolView, runners []v1alpha1.Runner, pods []corev1.Pod) string {
	generations := map[types.UID]int64{}
	for i := range view.runners {
		generations[view.runners[i].UID] = view.runners[i].Generation
	}
	known := map[types.UID]bool{}
	for i := range view.pods {
		known[view.pods[i].UID] = true
	}
	for i := range runners {
		if runner := &runners[i]; runner.Spec.PoolName == view.pool.Name && generations[runner.UID] < runner.Generation {
			return fmt.Sprintf("Runner %q", runner.Name)
		}
	}
	for i := range pods {
		if !known[pods[i].UID] {
			return fmt.Sprintf("pod %q", pods[i].Name)
		}
	}
	return ""
}
