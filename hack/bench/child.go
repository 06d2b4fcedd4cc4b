// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
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
	options := ort.Options{Device: ort.CPU, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flags.BoolVar(&options.Plain, "plain", false, "load as ONNX Runtime does by default")
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
	start = time.Now()
	if *prepare {
		if _, err := p.PrepareAll(ctx); err != nil {
			return err
		}
	} else if _, err := p.Generate(ctx, pipeline.Request{Prompt: "a red apple", Seed: 42, Steps: 1, GuidanceScale: 1, Images: 1}, nil); err != nil {
		return err
	}
	d.DrawSeconds = time.Since(start).Seconds()
	if err := p.Unload(); err != nil {
		return err
	}
	return printJSON(os.Stdout, d)
}
