// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// outside runs the benchmark of whole pictures and says what share of one is spent outside
// of ONNX Runtime.
func (b bench) outside(ctx context.Context) error {
	command := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkPicture$", "-timeout", "1h", "./internal/pipeline")
	large, err := filepath.Abs(b.large.dir)
	if err != nil {
		return err
	}
	command.Env = append(os.Environ(), "ATELIER_BENCH_MODEL="+large, "ATELIER_BENCH_STEPS="+strconv.Itoa(b.large.steps))
	var log bytes.Buffer
	command.Stderr = &log
	b.say("go test -bench BenchmarkPicture ./internal/pipeline")
	out, err := command.Output()
	if err != nil {
		return fmt.Errorf("go test: %w: %s%s", err, log.Bytes(), out)
	}
	t := newTable("OUTSIDE ONNX RUNTIME", "ms A PICTURE", "ms OUTSIDE", "SHARE", "MB ALLOCATED", "ALLOCATIONS", "GOAL")
	for line := range strings.Lines(string(out)) {
		name, figures, ok := parseBenchmark(line)
		if !ok {
			continue
		}
		share, goal := figures["outside-%"], ""
		if name == "large" {
			name, goal = fmt.Sprintf("%s, %d steps", b.large.name, b.large.steps), met("<= 2 %", share <= 2)
		}
		t.row(name, fmt.Sprintf("%.1f", figures["ns/op"]/1e6), fmt.Sprintf("%.2f", figures["outside-µs/op"]/1e3), fmt.Sprintf("%.2f %%", share),
			fmt.Sprintf("%.2f", figures["B/op"]/1e6), fmt.Sprintf("%.0f", figures["allocs/op"]), goal)
	}
	return t.write(b.out)
}

// parseBenchmark reads a line of results: the name of a BenchmarkPicture's part, how often
// it ran, then figures with their units.
func parseBenchmark(line string) (name string, figures map[string]float64, ok bool) {
	fields := strings.Fields(line)
	name, ok = strings.CutPrefix(line, "BenchmarkPicture/")
	if !ok || len(fields) < 4 {
		return "", nil, false
	}
	name, _, _ = strings.Cut(name, " ")
	if i := strings.LastIndexByte(name, '-'); i >= 0 {
		name = name[:i] // What follows is the number of CPUs.
	}
	name = strings.TrimRight(name, "\t")
	figures = map[string]float64{}
	for i := 2; i+1 < len(fields); i += 2 {
		value, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return "", nil, false
		}
		figures[fields[i+1]] = value
	}
	return name, figures, true
}
