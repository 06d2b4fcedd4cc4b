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
	"slices"
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

// loadFigures are what one way takes: the least of all rounds, of growth the most.
type loadFigures struct {
	cold, warm, picture, steady, swap float64
	peak                              int64
	// growth is by how much of it the memory grew through the swaps; 0 where it shrank.
	growth float64
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
		{name: "runner, first load", child: []string{"-model", m.dir}, reads: m.dir},
		{name: "runner, prepared graphs", child: []string{"-model", m.dir, "-store", store}, reads: store},
	}
	if b.python != "" {
		loaders = append(loaders, loader{name: "optimum", reads: m.dir, command: []string{
			b.python, "-W", "ignore", "hack/peer/draw.py", "-o", filepath.Join(store, "optimum.png"), "--model", m.dir, "--prompt", "a red apple",
			"--seed", "42", "--guidance-scale", "1", "--steps", fmt.Sprint(m.steps), "--images", "1", "--threads", fmt.Sprint(b.threads)}})
	}
	figures := make([]loadFigures, len(loaders))
	floors := map[string]loadFigures{}
	for range b.rounds {
		for i, l := range loaders {
			if err := b.round(ctx, m, l, &figures[i], floors); err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
		}
	}
	return b.writeLoad(m, loaders, figures, floors, made)
}

// round loads cold and then warm, and reads the same files cold and warm.
func (b bench) round(ctx context.Context, m model, l loader, kept *loadFigures, floors map[string]loadFigures) error {
	b.say("loading: " + l.name)
	if err := dropFiles(l.reads); err != nil {
		return err
	}
	cold, err := b.loadOnce(ctx, l)
	if err != nil {
		return err
	}
	warm, err := b.loadOnce(ctx, l, "-pictures", fmt.Sprint(1+m.images), "-steps", fmt.Sprint(m.steps), "-swaps", fmt.Sprint(b.swaps))
	if err != nil {
		return err
	}
	keep(&kept.cold, cold.LoadSeconds)
	keep(&kept.warm, warm.LoadSeconds)
	keep(&kept.picture, warm.DrawSeconds)
	keep(&kept.steady, warm.SteadySeconds)
	keep(&kept.swap, warm.SwapSeconds)
	if warm.FirstBytes > 0 {
		kept.growth = max(kept.growth, float64(warm.LastBytes)/float64(warm.FirstBytes)-1)
	}
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

// loadOnce loads in a process of its own, which does more with the model where more is asked
// for. Optimum's always draws a picture.
func (b bench) loadOnce(ctx context.Context, l loader, more ...string) (drawing, error) {
	if l.command != nil {
		return measure(ctx, l.command)
	}
	return b.child(ctx, slices.Concat(l.child, []string{"-threads", fmt.Sprint(b.threads)}, more)...)
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
	t := newTable("LOADING, "+m.name, "COLD", "WARM", "WARM/FIRST", "WARM/READING", "SWAP", "FIRST PICTURE", "LATER", "PEAK MiB", "READS MB")
	for i, l := range loaders {
		f, floor := figures[i], floors[l.reads]
		t.row(l.name, seconds(f.cold), seconds(f.warm), fmt.Sprintf("%.2f", f.warm/figures[0].warm), fmt.Sprintf("%.2f", f.warm/floor.warm),
			seconds(f.swap), seconds(f.picture), seconds(f.steady), fmt.Sprint(f.peak>>20), fmt.Sprint(floor.peak/1e6))
	}
	for _, l := range loaders[:2] {
		floor := floors[l.reads]
		t.row("reading the files of "+l.name, seconds(floor.cold), seconds(floor.warm))
	}
	t.row("preparing the graphs, once", seconds(made.DrawSeconds))
	prepared := figures[1].warm / figures[0].warm
	t.row("goal: prepared at most 0.3 of the first load, warm", "", "", met(fmt.Sprintf("%.2f", prepared), prepared <= 0.3))
	floor := figures[1].warm / floors[loaders[1].reads].warm
	t.row("goal: prepared at most 1.2 of reading, warm", "", "", met(fmt.Sprintf("%.2f", floor), floor <= 1.2))
	speed := figures[1].steady/figures[0].steady - 1
	t.row("goal: a later picture at most 3 % slower", "", "", met(fmt.Sprintf("%+.1f %%", 100*speed), speed <= 0.03))
	for i, l := range loaders[:2] {
		t.row(fmt.Sprintf("goal: at most 5 %% more memory after %d swaps, %s", b.swaps, l.name), "", "",
			met(fmt.Sprintf("%+.1f %%", 100*figures[i].growth), figures[i].growth <= 0.05))
	}
	return t.write(b.out)
}

// seconds is empty for what was not measured.
func seconds(s float64) string {
	if s == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f s", s)
}

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
