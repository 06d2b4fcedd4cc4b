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
	w := b.table("OUTSIDE ONNX RUNTIME\tms A PICTURE\tms OUTSIDE\tSHARE\tMB ALLOCATED\tALLOCATIONS\tGOAL")
	for line := range strings.Lines(string(out)) {
		name, figures, ok := parseBenchmark(line)
		if !ok {
			continue
		}
		share := figures["outside-%"]
		fmt.Fprintf(w, "%s\t%.1f\t%.2f\t%.2f %%\t%.2f\t%.0f\t", name, figures["ns/op"]/1e6, figures["outside-µs/op"]/1e3, share, figures["B/op"]/1e6, figures["allocs/op"])
		if strings.HasPrefix(name, "large") {
			fmt.Fprint(w, met("<= 2 %", share <= 2))
		}
		fmt.Fprintln(w)
	}
	return finish(w)
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
