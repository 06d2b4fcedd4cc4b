// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Command scale measures how many jobs the manager can handle, and how soon it gives them to
// runners: on a real control plane, with the manager as it is installed and the runners' own
// agents. What is simulated is what a machine without GPUs does not have: the nodes, whose
// pods do nothing, and the pipeline, which sleeps for as long as a picture is to take.
//
// Beside it, in the same run and on the same nodes, it measures plain Kubernetes Jobs: a pod
// for each piece of work, as one would do it without an operator.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"text/tabwriter"
	"time"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/atelier-dev/atelier/test/internal/repository"
	"github.com/atelier-dev/atelier/test/localcluster"
)

// options are what the command line sets.
type options struct {
	jobs        int
	runners     int
	picture     time.Duration
	rate        int
	latencyJobs int
	longPicture time.Duration
	longJobs    int
	peerJobs    int
	limit       time.Duration
}

func main() {
	var o options
	flag.IntVar(&o.runners, "runners", 50, "runners, each with a GPU of a simulated node")
	flag.DurationVar(&o.picture, "picture", time.Second, "how long a simulated picture takes")
	flag.IntVar(&o.jobs, "jobs", 1000, "jobs that are created as fast as the API server takes them, and run")
	flag.IntVar(&o.rate, "rate", 4, "jobs a second that are created while the time until their assignment is measured")
	flag.IntVar(&o.latencyJobs, "latency-jobs", 200, "how many jobs are created at that rate")
	flag.DurationVar(&o.longPicture, "long-picture", 20*time.Second, "how long a picture takes while the time between two jobs of a GPU is measured")
	flag.IntVar(&o.longJobs, "long-jobs", 200, "how many jobs wait in a queue for that")
	flag.IntVar(&o.peerJobs, "peer-jobs", 500, "Kubernetes Jobs to compare with; 0 is none")
	flag.DurationVar(&o.limit, "limit", 45*time.Minute, "when to give up")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	err := measure(ctx, o, os.Stdout)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// measure runs the whole benchmark and writes what it found.
func measure(ctx context.Context, o options, out io.Writer) (err error) {
	ctrl.SetLogger(klog.NewKlogr())
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	root, err := repository.Root()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "bin", "manager")); err != nil {
		return fmt.Errorf("%w: run `make cluster-binaries` first", err)
	}
	cluster, err := localcluster.Start(ctx, localcluster.Options{Root: root, Nodes: []localcluster.NodeOptions{{Name: "system"}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	if err := cluster.Install(ctx, "config/default"); err != nil {
		return err
	}
	site, err := newSite(cluster, o)
	if err != nil {
		return err
	}
	defer site.stop()
	if err := site.open(ctx); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%d CPUs for everything: control plane, manager, %d simulated runners and what measures; etcd does not wait for the disk\n\n",
		runtime.NumCPU(), o.runners)
	results, err := site.run(ctx)
	return errors.Join(err, write(out, results))
}

// result is a line of what is printed.
type result struct{ what, figure, goal string }

func write(out io.Writer, results []result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "what\tmeasured\tgoal")
	for _, r := range results {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", r.what, r.figure, r.goal)
	}
	return w.Flush()
}
