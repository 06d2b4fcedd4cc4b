// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// ask gives status code and text of one of the process's pages.
func (p *process) ask(path string) (int, string) {
	p.Helper()
	answer := httptest.NewRecorder()
	p.agent.Handler(p.registry).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	body, err := io.ReadAll(answer.Body)
	p.Expect(err).NotTo(HaveOccurred())
	return answer.Code, string(body)
}

func (p *process) code(path string) func() int {
	return func() int { code, _ := p.ask(path); return code }
}

func TestProbesAndMetrics(t *testing.T) {
	c := newCluster(t)
	p := c.start()
	c.Expect(p.code("/healthz")()).To(Equal(http.StatusOK))
	c.Expect(p.code("/readyz")()).To(Equal(http.StatusServiceUnavailable), "there is no Runner yet")
	c.runner(assignment("a", 1, "cat"))
	c.Eventually(p.code("/readyz")).Should(Equal(http.StatusOK))
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	_, metrics := p.ask("/metrics")
	for _, line := range []string{
		`atelier_runner_assignments_total{outcome="Succeeded"} 1`,
		`atelier_runner_model_loads_total{result="loaded"} 1`,
		`atelier_runner_pipeline_healthy 1`,
		`atelier_runner_stage_duration_seconds_count{stage="ModelLoading"} 1`,
		`atelier_runner_stage_duration_seconds_count{stage="Generating"} 1`,
		`atelier_runner_stage_duration_seconds_count{stage="Saving"} 1`,
		`atelier_runner_start_to_ready_seconds 0.`,
		`atelier_runner_status_writes_total{result="written"}`,
	} {
		c.Expect(metrics).To(ContainSubstring(line))
	}
	c.Expect(metrics).NotTo(Or(ContainSubstring("cat"), ContainSubstring("job-a"), ContainSubstring(secretPrompt)))
}

func TestWorkThatDoesNotStopMakesTheProcessUnhealthy(t *testing.T) {
	c := newCluster(t)
	clock := clocktesting.NewFakeClock(time.Now())
	stubborn := make(chan struct{})
	c.runner(assignment("a", 1, "cat"))
	p := c.start(withClock(clock), withPipeline(&fakePipeline{onStep: func(context.Context, int) error { <-stubborn; return nil }}))
	p.awaitDrawing()
	clock.Step(time.Hour)
	c.Expect(p.code("/healthz")()).To(Equal(http.StatusOK), "long work is no fault")
	c.assign()
	c.Eventually(p.log.String).Should(ContainSubstring("Work is being stopped"))
	c.Eventually(func() int { clock.Step(time.Minute); return p.code("/healthz")() }).Should(Equal(http.StatusServiceUnavailable))
	close(stubborn)
	c.Eventually(p.code("/healthz")).Should(Equal(http.StatusOK))
}
