// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestAnIdleRunnerIsReadyAsLongAsTheAPIServerAnswers(t *testing.T) {
	c := newCluster(t)
	clock := clocktesting.NewFakeClock(time.Now())
	c.runner()
	p := c.start(withClock(clock), withRequestTimeout(time.Second))
	c.Eventually(p.code("/readyz")).Should(Equal(http.StatusOK))
	for range 10 {
		c.Eventually(clock.Waiters).Should(Equal(2), "the writer waits for news, and the other until it has heard nothing for long")
		clock.Step(askInterval)
		c.Eventually(p.agent.contact.silence).Should(BeZero(), "it asks when it hears nothing")
		c.Expect(p.code("/readyz")()).To(Equal(http.StatusOK))
	}

	p.line.setDown(true)
	clock.Step(silenceLimit)
	c.Expect(p.code("/readyz")()).To(Equal(http.StatusOK), "as long as it may be silent")
	clock.Step(time.Second)
	code, text := p.ask("/readyz")
	c.Expect(code).To(Equal(http.StatusServiceUnavailable))
	c.Expect(text).To(ContainSubstring("the API server has not answered for 31s"))
	c.Expect(p.code("/healthz")()).To(Equal(http.StatusOK), "another process could do no better")

	p.line.setDown(false)
	c.Eventually(func() int { clock.Step(askInterval); return p.code("/readyz")() }).Should(Equal(http.StatusOK))
}

func TestWorkThatCannotBeReportedSavesNothing(t *testing.T) {
	c := newCluster(t)
	c.runner(assignment("a", 1, "cat"))
	draw := make(chan struct{})
	p := c.start(withPipeline(&fakePipeline{onStep: func(context.Context, int) error { <-draw; return nil }}))
	c.awaitPhase("a", v1alpha1.PhaseGenerating)
	p.line.setDown(true)
	close(draw)
	c.Eventually(p.pipeline.done).Should(BeTrue())
	c.Consistently(func() ([]os.DirEntry, error) { return os.ReadDir(c.outputs) }, "200ms").Should(BeEmpty(), "nobody could know of it")

	c.assign(assignment("a", 2, "cat"))
	p.line.setDown(false)
	c.Eventually(func() int32 { return c.report("a").Attempt }).Should(Equal(int32(2)), "the attempt that came back late is not reported on")
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
}
