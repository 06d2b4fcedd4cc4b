// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/atelier-dev/atelier/internal/modelstore/cache"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// loadCommand as the first argument has this program load a model and say how long it took.
const loadCommand = "load-once"

// loadOnce is the program that loads a model: once, so that its memory is that of one load.
func loadOnce(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet(loadCommand, flag.ContinueOnError)
	model := flags.String("model", "", "directory of the model")
	store := flags.String("store", "", "directory of a model cache, for prepared graphs")
	prepare := flags.Bool("prepare", false, "prepare graphs instead of drawing, and say how long that took")
	pictures := flags.Int("pictures", 0, "how many pictures to draw; the times of the first and of the quickest later one are told")
	steps := flags.Int("steps", 1, "denoising steps of a picture")
	swaps := flags.Int("swaps", 0, "how often to load another model of the same size then, in the loaded one's place")
	options := ort.Options{Device: ort.CPU, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flags.IntVar(&options.Threads, "threads", 0, "threads that compute")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *store != "" {
		c, err := cache.Open(cache.Config{Dir: *store})
		if err != nil {
			return err
		}
		options.Graphs = c
	}
	p := pipeline.New(ort.New(options))
	start := time.Now()
	if err := p.Load(ctx, pipeline.Model{Name: "bench", Dir: *model}); err != nil {
		return err
	}
	d := drawing{LoadSeconds: time.Since(start).Seconds()}
	if *prepare {
		start = time.Now()
		if _, err := p.PrepareAll(ctx); err != nil {
			return err
		}
		d.DrawSeconds = time.Since(start).Seconds()
	}
	for i := range *pictures {
		start = time.Now()
		if _, err := p.Generate(ctx, pipeline.Request{Prompt: "a red apple", Seed: 42, Steps: *steps, GuidanceScale: 1, Images: 1}, nil); err != nil {
			return err
		}
		if took := time.Since(start).Seconds(); i == 0 {
			d.DrawSeconds = took
		} else {
			keep(&d.SteadySeconds, took)
		}
	}
	if err := swap(ctx, p, *model, *swaps, &d.loadOnly); err != nil {
		return err
	}
	if err := p.Unload(); err != nil {
		return err
	}
	return printJSON(os.Stdout, d)
}

// swap loads models in turns, each in the place of the one before. Another generation of a
// model is another model to a pipeline.
func swap(ctx context.Context, p *pipeline.Pipeline, dir string, swaps int, d *loadOnly) (err error) {
	took := make([]float64, swaps)
	for i := range swaps {
		start := time.Now()
		if err := p.Load(ctx, pipeline.Model{Name: "bench", Dir: dir, Generation: int64(i) + 1}); err != nil {
			return err
		}
		took[i] = time.Since(start).Seconds()
		if d.LastBytes, err = residentMemory(); err != nil {
			return err
		}
		if i == 0 {
			d.FirstBytes = d.LastBytes
		}
	}
	if slices.Sort(took); swaps > 0 {
		d.SwapSeconds = took[swaps/2]
	}
	return nil
}
