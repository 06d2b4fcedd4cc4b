// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Bench measures the runtime beside Python: what it spends outside of ONNX Runtime, how
// fast it draws and in how much memory beside optimum with the same files, threads and
// steps, and how soon a process is ready. The two sides take turns, so that whatever else
// the machine does hits both. What is missing for a measurement is said in its place.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

// bench is what the flags say.
type bench struct {
	runner string
	// python of hack/peer, "" where it was not made.
	python  string
	large   model
	rounds  int
	threads int
	device  string
	// spinning says that optimum's threads keep their processors busy while they wait,
	// which is ONNX Runtime's default; the runner's never do.
	spinning bool
	// swaps is how often a loaded model is replaced.
	swaps int
	// loading says that only loading is measured.
	loading bool
	out     io.Writer
	log     io.Writer
}

// model is one that pictures are drawn with.
type model struct {
	name, dir string
	steps     int
	images    int
}

// demo is the model of the repository.
var demo = model{name: "demo model", dir: "test/testdata/models/fluent-emoji", steps: 20, images: 5}

func main() {
	b := bench{out: os.Stdout, log: os.Stderr, large: model{name: "size of SD 1.5", images: 1}}
	flag.StringVar(&b.runner, "runner", "bin/runner", "the runner's executable")
	flag.StringVar(&b.python, "python", peerPython(), "interpreter of the environment that hack/environment.sh hack/peer makes")
	flag.StringVar(&b.large.dir, "large", "bin/bench/sd15", "model that hack/peer/sd15.py writes")
	flag.IntVar(&b.large.steps, "large-steps", 4, "steps for a picture of that model")
	flag.IntVar(&b.rounds, "rounds", 3, "how often each side starts and draws")
	flag.IntVar(&b.threads, "threads", runtime.NumCPU(), "threads that compute")
	flag.StringVar(&b.device, "device", "cpu", "cpu or cuda")
	flag.BoolVar(&b.spinning, "peer-spinning", true, "leave optimum's threads spinning while they wait, which is the default but costs both where others work too")
	flag.BoolVar(&b.loading, "load", false, "measure only how models are loaded")
	flag.IntVar(&b.swaps, "swaps", 10, "how often a loaded model is replaced then")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := func() error { flag.Parse(); return b.run(ctx) }
	if len(os.Args) > 1 && os.Args[1] == loadCommand {
		run = func() error { return loadOnce(ctx, os.Args[2:]) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // Nothing is left to be undone.
	}
}

// peerPython is the interpreter that hack/environment.sh hack/peer prints.
func peerPython() string {
	work := os.Getenv("ATELIER_PEER_WORK")
	if work == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		work = filepath.Join(home, ".cache/atelier/peer")
	}
	return filepath.Join(work, "venv/bin/python")
}

// run measures everything that there is what it takes for.
func (b bench) run(ctx context.Context) error {
	models := []model{demo}
	if _, err := os.Stat(filepath.Join(b.large.dir, "model_index.json")); err == nil {
		models = append(models, b.large)
	} else {
		b.missing(b.large.dir)
	}
	if _, err := exec.LookPath(b.python); err != nil {
		b.missing("optimum")
		b.python = ""
	}
	_, err := fmt.Fprintf(b.out, "%s, %d CPUs, %s/%s; %d threads, device %s\n\n", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, b.threads, b.device)
	if err != nil {
		return err
	}
	if b.loading {
		return b.loadModels(ctx, models)
	}
	if err := b.startToReady(ctx); err != nil {
		return err
	}
	for _, m := range models {
		if err := b.draw(ctx, m); err != nil {
			return err
		}
	}
	return b.outside(ctx)
}

// say tells what is being done, since it takes long.
func (b bench) say(what string) { _, _ = fmt.Fprintln(b.log, "...", what) }

// missing says what is left out.
func (b bench) missing(what string) {
	b.say(what + " is missing, so that nothing is measured with it; `make bench-peers` makes it")
}

// met says whether a goal is met.
func met(goal string, ok bool) string {
	if ok {
		return goal + ": met"
	}
	return goal + ": NOT met"
}
