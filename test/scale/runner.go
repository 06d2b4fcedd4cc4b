// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"image"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/pipeline"
	"github.com/atelier-dev/atelier/internal/runner"
	"github.com/atelier-dev/atelier/test/testenv"
)

// runAgent is the process of a runner's pod: its agent with a pipeline that sleeps.
func (s *site) runAgent(ctx context.Context, pod *corev1.Pod) {
	config := testenv.AsPod(s.cluster.Config(), pod.Namespace, pod.Name, string(pod.UID), pod.Spec.ServiceAccountName)
	api, err := runner.NewClient(config, pod.Namespace, pod.Name)
	if err != nil {
		s.nodes.complain(pod, err)
		return
	}
	agent := runner.New(runner.Config{
		PodUID:          pod.UID,
		ModelsDir:       filepath.Join(s.dir, "models"),
		OutputsDir:      filepath.Join(s.dir, "outputs"),
		Version:         simulated,
		StartTime:       time.Now(),
		ShutdownTimeout: 5 * time.Second,
		StopTimeout:     time.Minute,
	}, api, &sleeper{site: s}, runner.NewMetrics(prometheus.NewRegistry()), clock.RealClock{}, slog.New(slog.DiscardHandler))
	if err := agent.Run(ctx); err != nil && ctx.Err() == nil {
		s.nodes.complain(pod, err)
	}
}

// sleeper is a pipeline that takes its time and draws a blank. Its agent calls it from one
// goroutine at a time.
type sleeper struct {
	site   *site
	loaded *pipeline.Model
	// ended is when the last generation did.
	ended time.Time
}

var _ runner.Pipeline = (*sleeper)(nil)

func (p *sleeper) Health() pipeline.Health {
	if p.loaded == nil {
		return pipeline.Health{Healthy: true, Reason: v1alpha1.ReasonIdle, Message: "nothing is loaded"}
	}
	return pipeline.Health{Healthy: true, Reason: v1alpha1.ReasonLoaded, Message: "a simulated model is loaded"}
}

func (p *sleeper) Loaded() (pipeline.Model, bool) {
	if p.loaded == nil {
		return pipeline.Model{}, false
	}
	return *p.loaded, true
}

func (p *sleeper) Facts() pipeline.Facts { return pipeline.Facts{Family: simulated} }

func (p *sleeper) Device() (ort.Device, bool) {
	return ort.Device{Type: ort.CPU, Message: simulated}, p.loaded != nil
}

func (p *sleeper) Load(ctx context.Context, model pipeline.Model) error {
	p.loaded = &model
	return ctx.Err()
}

func (p *sleeper) Unload() error {
	p.loaded = nil
	return nil
}

func (p *sleeper) ComputeEmbedding(context.Context, string) (*ort.Tensor, []string, error) {
	return nil, nil, errors.New("no job of this benchmark asks for it")
}

// Generate sleeps, and notes how long the GPU had nothing to do before.
func (p *sleeper) Generate(ctx context.Context, request pipeline.Request, observe func(done, total int)) (pipeline.Result, error) {
	if p.ended.UnixNano() > p.site.queueStart.Load() {
		p.site.gaps.add(time.Since(p.ended))
	}
	observe(0, request.Steps)
	select {
	case <-time.After(time.Duration(p.site.picture.Load())):
	case <-ctx.Done():
		return pipeline.Result{}, ctx.Err()
	}
	observe(request.Steps, request.Steps)
	p.ended = time.Now()
	return pipeline.Result{Pictures: []pipeline.Picture{{Seed: request.Seed, Image: image.NewNRGBA(image.Rect(0, 0, 8, 8))}}}, nil
}
