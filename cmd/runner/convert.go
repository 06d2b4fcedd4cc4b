// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/atelier-dev/atelier/internal/modelstore/cache"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

func newConvertCommand() *cobra.Command {
	var o cacheOptions
	command := &cobra.Command{
		Use:   "convert MODEL",
		Short: "Keep a model's graphs in the cache as ONNX Runtime prepares them",
		Long: `Load a model on the CPU and keep its graphs in the cache as ONNX Runtime prepares them for
this processor, so that runners load them quicker from the first time. MODEL is a directory,
or a model of the cache: its digest, sha256:…, or its source as "runner cache ls" has it. A
directory has to have the path that runners see it at. Networks that only some pictures need
are left to the runners.`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			c, err := o.must()
			if err != nil {
				return err
			}
			dir, release, err := modelAt(command.Context(), c, args[0])
			if err != nil {
				return err
			}
			defer release()
			return convert(command.Context(), c, dir, command.OutOrStdout())
		},
	}
	o.add(command.Flags(), userCache())
	return command
}

// modelAt finds the directory of a model that someone names, and keeps it until release.
func modelAt(ctx context.Context, c *cache.Cache, name string) (dir string, release func(), err error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		dir, err = filepath.Abs(name)
		return dir, func() {}, err
	}
	m, err := cached(ctx, c, name)
	if err != nil {
		return "", nil, err
	}
	return m.Dir, m.Release, nil
}

// convert prepares the graphs of a model and says how many, and what they gain.
func convert(ctx context.Context, c *cache.Cache, dir string, out io.Writer) (err error) {
	before, prepared, err := loadAndPrepare(ctx, c, dir)
	if err != nil {
		return err
	}
	if prepared == 0 {
		_, err = fmt.Fprintf(out, "all graphs are prepared already; the model loads in %.3f s\n", before.Seconds())
		return err
	}
	after, _, err := loadAndPrepare(ctx, c, dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d graphs prepared; the model loads in %.3f s, before in %.3f s\n", prepared, after.Seconds(), before.Seconds())
	return err
}

// loadAndPrepare loads a model, says how long that took, and prepares what is not prepared.
func loadAndPrepare(ctx context.Context, c *cache.Cache, dir string) (took time.Duration, prepared int, err error) {
	p := pipeline.New(ort.New(ort.Options{Device: ort.CPU, Graphs: c}))
	begin := time.Now()
	if err := p.Load(ctx, pipeline.Model{Name: filepath.Base(dir), Dir: dir}); err != nil {
		return 0, 0, err
	}
	took = time.Since(begin)
	// Its memory is wanted for preparing.
	if err := p.Unload(); err != nil {
		return 0, 0, err
	}
	prepared, err = p.PrepareAll(ctx)
	return took, prepared, err
}
