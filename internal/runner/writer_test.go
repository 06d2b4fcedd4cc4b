// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// jobPhases are what a watcher has to see of a job that succeeds, and all of it. Each is
// one write.
var jobPhases = []string{"Initializing 1", "ModelLoading 5", "Generating 10", "Saving 95", "Succeeded 100"}

// warmPhases are those of one whose model is loaded already: its first report is that it
// generates, and says in its stages what came before.
var warmPhases = jobPhases[2:]

// TestEveryWriteMayFail lets each write of a job fail in each way, and expects that no
// phase is left out and that only what was lost is written again.
func TestEveryWriteMayFail(t *testing.T) {
	for name, fault := range map[string]fault{
		"refused":    refused,
		"conflict":   conflicting,
		"cut before": cut,
		"cut after":  cutAfter,
		"timed out":  timedOut,
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.runner()
			p := c.start()
			for n := range jobPhases {
				c.Eventually(p.agent.ledger.idle).Should(BeTrue())
				before := p.line.count()
				p.line.set(p.line.only(n+1, fault))
				uid := types.UID(fmt.Sprint("job-", n))
				// Another model each time, as a loaded one makes for fewer phases.
				c.assign(assignment(uid, 1, []string{"cat", "dog"}[n%2]))
				c.awaitPhase(uid, v1alpha1.PhaseSucceeded)
				c.Eventually(func() []string { return c.seen.phases(uid) }).Should(Equal(jobPhases))
				c.Eventually(p.agent.ledger.idle).Should(BeTrue())
				c.Expect(p.line.count()-before).To(BeNumerically("<=", len(jobPhases)+2), "writes where write %d fails", n+1)
			}
		})
	}
}

func TestRequestWithoutAnAnswerIsGivenUp(t *testing.T) {
	c := newCluster(t)
	c.runner()
	p := c.start(withRequestTimeout(500 * time.Millisecond))
	c.Eventually(p.agent.Ready).Should(Succeed())
	p.line.set(p.line.only(2, unanswered))
	c.assign(assignment("a", 1, "cat"))
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.Eventually(func() []string { return c.seen.phases("a") }).Should(Equal(jobPhases))
}

func TestFailingWritesAreNeverHot(t *testing.T) {
	c := newCluster(t)
	clock := clocktesting.NewFakeClock(time.Now())
	c.runner(assignment("a", 1, "cat"))
	p := c.start(withClock(clock))
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.Eventually(p.agent.ledger.idle).Should(BeTrue())
	before := p.line.count()
	p.line.set(all(refused))
	c.assign(assignment("b", 1, "cat"))

	c.Eventually(p.line.count).Should(Equal(before + 1))
	// A minute in steps of 100 ms, each while the writer waits to try again; the other that
	// waits watches over the contact to the API server.
	for range 600 {
		c.Eventually(clock.Waiters).Should(Equal(2))
		clock.Step(100 * time.Millisecond)
	}
	tries := p.line.count() - before
	t.Logf("%d tries in a minute", tries)
	c.Expect(tries).To(And(BeNumerically(">", 10), BeNumerically("<", 25)))
	p.line.set(nil)
	clock.Step(10 * time.Second)
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Eventually(func() []string { return c.seen.phases("b") }).Should(Equal(warmPhases))
}

func TestRequestThatArrivesLateChangesNothing(t *testing.T) {
	c := newCluster(t)
	c.runner()
	p := c.start()
	c.Eventually(p.agent.Ready).Should(Succeed())
	release, answer := make(chan struct{}), make(chan int, 1)
	p.line.set(p.line.only(2, heldUp(release, answer)))
	c.assign(assignment("a", 1, "cat"))
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.assign()
	c.awaitGone("a")
	after := c.get()
	close(release)
	c.Eventually(answer).Should(Receive(Equal(http.StatusConflict)))
	c.Expect(c.get()).To(Equal(after))
}

func TestConflictsWithTheManagerLoseNothing(t *testing.T) {
	c := newCluster(t)
	steps := make(gate)
	a := assignment("a", 1, "cat")
	a.Steps = 40
	c.runner(a)
	p := c.start(withPipeline(&fakePipeline{onStep: steps.wait}))
	c.awaitPhase("a", v1alpha1.PhaseGenerating)
	// The manager writes the spec over and over while the runner reports.
	for i := range int(a.Steps) {
		b := assignment("b", int32(i+1), "cat")
		c.assign(a, b)
		steps <- struct{}{}
	}
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	close(steps)
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Expect(c.report("b").Attempt).To(BeEquivalentTo(40))
	c.Expect(p.log.String()).NotTo(ContainSubstring("RunnerCrashed"))
}

func TestLosingTheAPIServerLosesNothing(t *testing.T) {
	c := newCluster(t)
	steps := make(gate)
	c.runner(assignment("a", 1, "cat"), assignment("b", 1, "cat"))
	p := c.start(withPipeline(&fakePipeline{onStep: steps.wait}))
	c.awaitPhase("a", v1alpha1.PhaseGenerating)
	p.line.setDown(true)
	for range 4 {
		steps <- struct{}{}
	}
	c.Eventually(p.pipeline.done).Should(BeTrue())
	c.assign(assignment("a", 1, "cat"), assignment("c", 1, "cat"))
	p.line.setDown(false)
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	close(steps)
	c.awaitPhase("c", v1alpha1.PhaseSucceeded)
	c.Eventually(func() []string { return c.seen.phases("a") }).Should(Equal(jobPhases))
	c.Expect(c.seen.phases("b")).To(BeEmpty())
}
