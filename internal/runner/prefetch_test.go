// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestNextModel(t *testing.T) {
	cat, dog, owl := assignment("a", 1, "cat"), assignment("b", 1, "dog"), assignment("c", 1, "owl")
	for name, test := range map[string]struct {
		spec    v1alpha1.RunnerSpec
		current *v1alpha1.Assignment
		want    string
	}{
		"nothing comes after it":           {spec: v1alpha1.RunnerSpec{Assignments: []v1alpha1.Assignment{cat}}, current: &cat},
		"the next assignment's":            {v1alpha1.RunnerSpec{Assignments: []v1alpha1.Assignment{cat, dog, owl}}, &cat, "dog"},
		"what the manager names":           {v1alpha1.RunnerSpec{Assignments: []v1alpha1.Assignment{cat}, Prefetch: &owl.Model}, &cat, "owl"},
		"the next assignment's before it":  {v1alpha1.RunnerSpec{Assignments: []v1alpha1.Assignment{cat, dog}, Prefetch: &owl.Model}, &cat, "dog"},
		"after the last one, what is left": {v1alpha1.RunnerSpec{Assignments: []v1alpha1.Assignment{cat, dog}, Prefetch: &owl.Model}, &dog, "owl"},
		"not what is in use":               {spec: v1alpha1.RunnerSpec{Assignments: []v1alpha1.Assignment{cat}, Prefetch: &cat.Model}, current: &cat},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if next := nextModel(&test.spec, test.current); next != nil {
				got = next.Name
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// prefetches is what the process has counted; empty before it was anything.
func (p *process) prefetches() string { return p.metric("atelier_runner_model_prefetches_total") }

func TestNextModelIsFetchedWhileDrawing(t *testing.T) {
	c := newCluster(t)
	published := c.registry()
	source, digest := published.push("dog", strings.Repeat("d", 5000))
	steps := make(gate)
	a, b := assignment("a", 1, "cat"), fromSource("b", "dog", source, digest)
	c.runner(a, b)
	p := c.start(withPipeline(&fakePipeline{onStep: steps.wait}), withCache(t, 0))
	c.awaitPhase("a", v1alpha1.PhaseGenerating)
	c.Eventually(p.prefetches).Should(And(ContainSubstring("brought"), ContainSubstring("value:1")))
	published.Close()
	close(steps)
	report := c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Expect(report.Pull).To(BeNil(), "it was there already")
}

// The registry does not answer when it is first asked: the drawing is not kept waiting, and
// neither is what follows.
func TestPrefetchEndsWithTheDrawing(t *testing.T) {
	c := newCluster(t)
	published := c.registry()
	source, digest := published.push("dog", strings.Repeat("d", 5000))
	asked := make(chan struct{})
	silent := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if published.broken.Swap(nil) != nil {
			close(asked)
		}
		<-r.Context().Done()
	})
	published.broken.Store(&silent)
	steps := make(gate)
	c.runner(assignment("a", 1, "cat"), fromSource("b", "dog", source, digest))
	p := c.start(withPipeline(&fakePipeline{onStep: steps.wait}), withCache(t, 0))
	c.Eventually(asked).Should(BeClosed())
	close(steps)
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Expect(p.prefetches()).To(BeEmpty(), "what is cut short counts neither way")
}

func TestModelOfTheVolumeIsReadWhileDrawing(t *testing.T) {
	c := newCluster(t)
	c.runner(assignment("a", 1, "cat"), assignment("b", 1, "dog"))
	steps := make(gate)
	p := c.start(withPipeline(&fakePipeline{onStep: steps.wait}))
	c.awaitPhase("a", v1alpha1.PhaseGenerating)
	c.Eventually(p.prefetches).Should(And(ContainSubstring("brought"), ContainSubstring("value:1")))
	close(steps)
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
}
