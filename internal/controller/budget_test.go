// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// TestAWarmJobCostsTwelveWrites runs a job that takes no time on a runner that has its model
// loaded, each step as soon as there is news, and lists everything that is written for it.
func TestAWarmJobCostsTwelveWrites(t *testing.T) {
	w := newWorld(0)
	w.addModel("cat")
	w.addPool(1, 1)
	w.addJob("first", "cat", 0)
	if err := w.settle(); err != nil {
		t.Fatal(err)
	}
	w.clock.SetTime(w.clock.Now().Add(time.Second))
	w.react()

	events := &countedEvents{}
	w.jobs.Recorder = events
	var writes []string
	w.fault = func(_ int, what string) fate { writes = append(writes, what); return fateDone }
	reports := w.reports
	w.addJob("warm", "cat", 0)
	var phases []string
	w.phaseSeen = func(job *v1alpha1.GenerationJob) {
		if text := string(job.Status.Phase); job.Name == "warm" && text != "" {
			phases = append(phases, text)
		}
	}
	for !w.allEnded() {
		w.react()
		for _, runner := range all[*v1alpha1.Runner](w) {
			w.stepRunner(runner, nil)
		}
	}
	if diff := cmp.Diff([]string{"Pending", "Initializing", "ModelLoading", "Generating", "Saving", "Succeeded"}, slices.Compact(phases)); diff != "" {
		t.Errorf("who watches the job sees (-want +got):\n%s", diff)
	}
	want := []string{
		"patch status of GenerationJob warm", // Pending, with a seed
		"patch Runner default-0",             // bound
		"patch status of GenerationJob warm", // Initializing
		"patch status of GenerationJob warm", // ModelLoading
		"patch status of GenerationJob warm", // Generating
		"patch status of GenerationJob warm", // Saving, with the outputs
		"patch Runner default-0",             // released
		"patch status of GenerationJob warm", // Succeeded
	}
	if diff := cmp.Diff(want, writes); diff != "" {
		t.Errorf("the manager writes (-want +got):\n%s", diff)
	}
	// Taken and generating, saving, succeeded, let go: as many as the runner's own test wants.
	if n := w.reports - reports; n != 4 {
		t.Errorf("the runner writes %d times, want 4", n)
	}
	if diff := cmp.Diff([]string{v1alpha1.ReasonBound, v1alpha1.ReasonSucceeded}, events.reasons); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// react lets the manager do all that there is to do now, news included.
func (w *world) react() {
	for before := -1; before < w.writes || len(w.stale()) > 0; {
		before = w.writes
		for _, key := range w.stale() {
			w.catchUp(key)
		}
		for _, o := range w.workload() {
			w.work(o)
		}
	}
}

// countedEvents keeps the reasons of events.
type countedEvents struct{ reasons []string }

func (c *countedEvents) Eventf(_, _ runtime.Object, _, reason, _, _ string, _ ...any) {
	c.reasons = append(c.reasons, strings.Clone(reason))
}
