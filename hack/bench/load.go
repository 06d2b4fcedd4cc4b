// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// loader is one way to load a model.
type loader struct {
	name string
	// child are the flags of this program that load it, unless command is set.
	child   []string
	command []string
	// reads is what the files are that are read: those of the model, or of the store.
	reads string
}

// loadFigures are what one way takes: the least of all rounds.
type loadFigures struct {
	cold, warm, picture, whole float64
	peak                       int64
}

// loadModels compares ways to load each model.
func (b bench) loadModels(ctx context.Context, models []model) error {
	for _, m := range models {
		if err := b.load(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// load compares ways to load the large model, in turns. Cold is with none of its files in
// memory, as far as the system drops them when it is told to; warm is right after.
func (b bench) load(ctx context.Context, m model) (err error) {
	if m.dir, err = filepath.Abs(m.dir); err != nil {
		return err
	}
	store, err := os.MkdirTemp("", "bench-load")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(store) }()
	b.say("preparing the graphs, which takes a while")
	made, err := b.child(ctx, "-model", m.dir, "-store", store, "-prepare")
	if err != nil {
		return err
	}
	loaders := []loader{
		{name: "plain ONNX Runtime", child: []string{"-model", m.dir, "-plain"}, reads: m.dir},
		{name: "runner, first load", child: []string{"-model", m.dir}, reads: m.dir},
		{name: "runner, prepared graphs", child: []string{"-model", m.dir, "-store", store}, reads: store},
	}
	if b.python != "" {
		loaders = append(loaders, loader{name: "optimum", reads: m.dir, command: []string{
			b.python, "-W", "ignore", "hack/peer/draw.py", "-o", filepath.Join(store, "optimum.png"), "--model", m.dir, "--prompt", "a red apple",
			"--seed", "42", "--guidance-scale", "1", "--steps", "1", "--images", "1", "--threads", fmt.Sprint(b.threads)}})
	}
	figures := make([]loadFigures, len(loaders))
	floors := map[string]loadFigures{}
	for range b.rounds {
		for i, l := range loaders {
			if err := b.round(ctx, l, &figures[i], floors); err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
		}
	}
	return b.writeLoad(m, loaders, figures, floors, made)
}

// round loads cold and then warm, and reads the same files cold and warm.
func (b bench) round(ctx context.Context, l loader, kept *loadFigures, floors map[string]loadFigures) error {
	b.say("loading: " + l.name)
	if err := dropFiles(l.reads); err != nil {
		return err
	}
	cold, err := b.loadOnce(ctx, l)
	if err != nil {
		return err
	}
	warm, err := b.loadOnce(ctx, l)
	if err != nil {
		return err
	}
	keep(&kept.cold, cold.LoadSeconds)
	keep(&kept.warm, warm.LoadSeconds)
	keep(&kept.picture, warm.DrawSeconds)
	keep(&kept.whole, warm.whole.Seconds())
	if kept.peak == 0 || warm.peak < kept.peak {
		kept.peak = warm.peak
	}
	floor := floors[l.reads]
	if err := dropFiles(l.reads); err != nil {
		return err
	}
	for _, place := range []*float64{&floor.cold, &floor.warm} {
		start := time.Now()
		if floor.peak, err = readFiles(l.reads); err != nil {
			return err
		}
		keep(place, time.Since(start).Seconds())
	}
	floors[l.reads] = floor
	return nil
}

// keep takes the lesser of what was kept, where something was, and a new figure.
func keep(kept *float64, figure float64) {
	if *kept == 0 || figure < *kept {
		*kept = figure
	}
}

// loadOnce loads in a process of its own, which also draws a picture.
func (b bench) loadOnce(ctx context.Context, l loader) (drawing, error) {
	if l.command != nil {
		return measure(ctx, l.command)
	}
	return b.child(ctx, append(l.child, "-threads", fmt.Sprint(b.threads))...)
}

// child runs this program as one that loads a model.
func (b bench) child(ctx context.Context, flags ...string) (drawing, error) {
	self, err := os.Executable()
	if err != nil {
		return drawing{}, err
	}
	return measure(ctx, append([]string{self, loadCommand}, flags...))
}

// writeLoad writes the table.
func (b bench) writeLoad(m model, loaders []loader, figures []loadFigures, floors map[string]loadFigures, made drawing) error {
	t := newTable("LOADING, "+m.name, "COLD", "WARM", "WARM/PLAIN", "WARM/READING", "FIRST PICTURE", "PEAK MiB", "READS MB")
	for i, l := range loaders {
		f, floor := figures[i], floors[l.reads]
		t.row(l.name, seconds(f.cold), seconds(f.warm), fmt.Sprintf("%.2f", f.warm/figures[0].warm), fmt.Sprintf("%.2f", f.warm/floor.warm),
			seconds(f.picture), fmt.Sprint(f.peak>>20), fmt.Sprint(floor.peak/1e6))
	}
	for _, l := range []loader{loaders[0], loaders[2]} {
		floor := floors[l.reads]
		t.row("reading the files of "+l.name, seconds(floor.cold), seconds(floor.warm))
	}
	t.row("preparing the graphs, once", seconds(made.DrawSeconds))
	prepared := figures[2].warm / figures[0].warm
	t.row("goal: prepared at most 0.3 of plain, warm", "", "", met(fmt.Sprintf("%.2f", prepared), prepared <= 0.3))
	floor := figures[2].warm / floors[loaders[2].reads].warm
	t.row("goal: prepared at most 1.2 of reading, warm", "", "", met(fmt.Sprintf("%.2f", floor), floor <= 1.2))
	speed := figures[2].picture/figures[0].picture - 1
	t.row("goal: a picture at most 3 % slower", "", "", met(fmt.Sprintf("%+.1f %%", 100*speed), speed <= 0.03))
	return t.write(b.out)
}

func seconds(s float64) string { return fmt.Sprintf("%.2f s", s) }

// eachFile calls do with each file of weights or graphs in a directory.
func eachFile(dir string, do func(*os.File) error) error {
	return filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(name, "vae_encoder") {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // Only read from.
		return do(f)
	})
}

// readFiles reads the files in a directory from the first byte to the last: nothing that
// needs all of them is quicker.
func readFiles(dir string) (total int64, err error) {
	buffer := make([]byte, 1<<20)
	err = eachFile(dir, func(f *os.File) error {
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buffer)
		total += n
		return err
	})
	return total, err
}

// printJSON prints what the child measured.
func printJSON(out io.Writer, d drawing) error { return json.NewEncoder(out).Encode(d) }
