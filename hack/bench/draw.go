// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/atelier-dev/atelier/internal/parity"
)

// drawing is what one process took to draw.
type drawing struct {
	// LoadSeconds is how long the model took to load, and DrawSeconds how long all
	// pictures took, as the process itself says.
	LoadSeconds float64 `json:"loadSeconds"`
	DrawSeconds float64 `json:"drawSeconds"`
	loadOnly
	// whole is from the start of the process to its end.
	whole time.Duration
	// peak is the most memory that it had, in bytes.
	peak int64
}

// loadOnly is what is measured of loading alone.
type loadOnly struct {
	// SteadySeconds is how long the quickest picture after the first one took.
	SteadySeconds float64 `json:"steadySeconds,omitempty"`
	// SwapSeconds is how long it took to load another model in the loaded one's place, the
	// median of all swaps.
	SwapSeconds float64 `json:"swapSeconds,omitempty"`
	// FirstBytes and LastBytes are the process's resident memory after the first swap and
	// after the last.
	FirstBytes int64 `json:"firstBytes,omitempty"`
	LastBytes  int64 `json:"lastBytes,omitempty"`
}

// best keeps the better of each figure.
func best(a, b drawing) drawing {
	return drawing{
		LoadSeconds: min(a.LoadSeconds, b.LoadSeconds), DrawSeconds: min(a.DrawSeconds, b.DrawSeconds),
		whole: min(a.whole, b.whole), peak: min(a.peak, b.peak),
	}
}

// draw has both sides draw the same pictures, and compares them.
func (b bench) draw(ctx context.Context, m model) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	runner, optimum, err := b.takeTurns(ctx, m, dir)
	if err != nil {
		return err
	}
	t := newTable(fmt.Sprintf("DRAWING, %s, %d STEPS", m.name, m.steps), "RUNNER", "OPTIMUM", "RUNNER/OPTIMUM", "GOAL")
	for _, r := range rows(m, runner, optimum) {
		if b.python == "" {
			t.row(r.name, fmt.Sprintf(r.format, r.runner))
			continue
		}
		ratio, goal := r.runner/r.optimum, ""
		if r.goal != nil {
			goal = r.goal(ratio)
		}
		t.row(r.name, fmt.Sprintf(r.format, r.runner), fmt.Sprintf(r.format, r.optimum), fmt.Sprintf("%.2f", ratio), goal)
	}
	if b.python != "" {
		far, err := farPixels(dir, m)
		if err != nil {
			return err
		}
		t.row("pixels within 1/255 of each other", fmt.Sprintf("%.4g %%", 100*(1-far)), "", "", met(">= 99.9 %", far <= parity.FarPixels))
	}
	return t.write(b.out)
}

// takeTurns has both sides draw into files in dir, one after the other, in each round.
func (b bench) takeTurns(ctx context.Context, m model, dir string) (runner, optimum drawing, err error) {
	ours := []string{b.runner, "generate", "--json", "-o", filepath.Join(dir, "runner.png")}
	theirs := []string{b.python, "-W", "ignore", "hack/peer/draw.py", "-o", filepath.Join(dir, "optimum.png")}
	if !b.spinning {
		theirs = append(theirs, "--no-spinning")
	}
	for round := range b.rounds {
		if err := b.turn(ctx, m, ours, round, &runner); err != nil {
			return runner, optimum, err
		}
		if b.python == "" {
			continue
		}
		if err := b.turn(ctx, m, theirs, round, &optimum); err != nil {
			return runner, optimum, err
		}
	}
	return runner, optimum, nil
}

// row is one line of the comparison.
type row struct {
	name, format    string
	runner, optimum float64
	goal            func(ratio float64) string
}

// rows are the lines of the comparison.
func rows(m model, runner, optimum drawing) []row {
	rate := func(d drawing) float64 { return float64(m.images) / d.DrawSeconds }
	mebibytes := func(d drawing) float64 { return float64(d.peak) / (1 << 20) }
	return []row{
		{"pictures a second", "%.4f", rate(runner), rate(optimum), func(ratio float64) string { return met(">= 1", ratio >= 1) }},
		{"seconds a picture", "%.3f", 1 / rate(runner), 1 / rate(optimum), nil},
		{"seconds to load", "%.3f", runner.LoadSeconds, optimum.LoadSeconds, nil},
		{fmt.Sprintf("seconds from start to end, %d pictures", m.images), "%.2f", runner.whole.Seconds(), optimum.whole.Seconds(), nil},
		{"peak memory, MiB", "%.0f", mebibytes(runner), mebibytes(optimum), nil},
	}
}

// turn draws once and keeps the better figures.
func (b bench) turn(ctx context.Context, m model, command []string, round int, kept *drawing) error {
	command = append(command, "--model", m.dir, "--prompt", "a red apple", "--seed", "42", "--guidance-scale", "7.5",
		"--steps", strconv.Itoa(m.steps), "--images", strconv.Itoa(m.images), "--threads", strconv.Itoa(b.threads), "--device", b.device)
	b.say("drawing: " + strings.Join(command, " "))
	d, err := measure(ctx, command)
	if err != nil {
		return fmt.Errorf("%s: %w", command[0], err)
	}
	if round > 0 {
		d = best(d, *kept)
	}
	*kept = d
	return nil
}

// measure runs a process that says in JSON how long it took.
func measure(ctx context.Context, command []string) (drawing, error) {
	var out, log bytes.Buffer
	process := exec.CommandContext(ctx, command[0], command[1:]...)
	process.Stdout, process.Stderr = &out, &log
	start := time.Now()
	if err := process.Run(); err != nil {
		return drawing{}, fmt.Errorf("%w: %s", err, log.Bytes())
	}
	d := drawing{whole: time.Since(start)}
	if usage, ok := process.ProcessState.SysUsage().(*syscall.Rusage); ok {
		d.peak = usage.Maxrss << 10 // Linux counts in KiB.
	}
	return d, json.Unmarshal(out.Bytes(), &d)
}

// farPixels compares the last pictures that the two sides drew.
func farPixels(dir string, m model) (float64, error) {
	name := "runner.png"
	if m.images > 1 {
		name = fmt.Sprintf("runner-%d.png", m.images-1)
	}
	ours, err := readPicture(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	theirs, err := readPicture(filepath.Join(dir, "optimum.png"))
	if err != nil {
		return 0, err
	}
	return parity.Far(ours, theirs), nil
}

func readPicture(file string) (image.Image, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // Only read from.
	return png.Decode(f)
}
