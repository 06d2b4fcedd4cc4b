// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/controller"
	"github.com/atelier-dev/atelier/test/localcluster"
)

// namespace is where everything is.
const namespace = "scale"

// modelName is the model that all jobs name: the runners have it loaded when it counts.
const modelName = "model"

// pollPeriod of what is waited for outside of measurements.
const pollPeriod = 200 * time.Millisecond

// site is a cluster with simulated nodes and one pool.
type site struct {
	options options
	cluster *localcluster.Cluster
	api     client.Client
	kube    kubernetes.Interface
	// seen is what is told of the namespace's objects.
	seen cache.Cache
	// dir has the runners' models and outputs.
	dir   string
	nodes *nodes
	// picture is how long a picture takes now.
	picture atomic.Int64
	// queueStart is when jobs began to wait for GPUs, in nanoseconds.
	queueStart atomic.Int64
	// gaps are how long GPUs had no work between two jobs.
	gaps *samples
}

func newSite(cluster *localcluster.Cluster, o options) (*site, error) {
	s := &site{options: o, cluster: cluster, dir: filepath.Join(cluster.Dir(), namespace), gaps: &samples{}}
	s.picture.Store(int64(o.picture))
	config := cluster.Config()
	config.QPS = -1
	var err error
	scheme := controller.NewScheme()
	if s.api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	s.seen, err = cache.New(config, cache.Options{Scheme: scheme, DefaultNamespaces: map[string]cache.Config{namespace: {}}})
	if err != nil {
		return nil, err
	}
	if s.kube, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	return s, errors.Join(
		os.MkdirAll(filepath.Join(s.dir, "models", modelName), 0o755),
		os.MkdirAll(filepath.Join(s.dir, "outputs"), 0o755),
	)
}

// stop ends the simulated nodes and what runs on them.
func (s *site) stop() {
	if s.nodes != nil {
		s.nodes.stop()
	}
}

// open starts the nodes and makes the pool, and returns when all its runners are ready.
func (s *site) open(ctx context.Context) error {
	go func() { _ = s.seen.Start(ctx) }()
	var err error
	if s.nodes, err = startNodes(ctx, s); err != nil {
		return err
	}
	if err := s.api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return err
	}
	model := &v1alpha1.Model{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: modelName},
		Spec:       v1alpha1.ModelSpec{Source: v1alpha1.ModelSource{Path: modelName}},
	}
	if err := s.api.Create(ctx, model); err != nil {
		return err
	}
	pool := fmt.Sprintf(poolManifest, namespace, s.options.runners, s.options.runners)
	if _, err := s.cluster.KubectlInput(ctx, pool, "apply", "-f", "-"); err != nil {
		return err
	}
	return s.awaitRunners(ctx)
}

// poolManifest keeps as many runners as there are to be.
const poolManifest = `
apiVersion: generation.atelier.dev/v1alpha1
kind: RunnerPool
metadata: {name: default, namespace: %s}
spec:
  minRunners: %d
  maxRunners: %d
  template:
    spec:
      containers:
      - name: runner
        resources: {limits: {nvidia.com/gpu: 1}}
      volumes:
      - {name: models, emptyDir: {}}
      - {name: outputs, emptyDir: {}}
`

func (s *site) awaitRunners(ctx context.Context) error {
	var pool v1alpha1.RunnerPool
	err := wait.PollUntilContextCancel(ctx, pollPeriod, true, func(ctx context.Context) (bool, error) {
		err := s.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "default"}, &pool)
		return err == nil && int(pool.Status.ReadyRunners) == s.options.runners, err
	})
	if err != nil {
		return fmt.Errorf("%d of %d runners are ready: %w", pool.Status.ReadyRunners, s.options.runners, err)
	}
	return nil
}
