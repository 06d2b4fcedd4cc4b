// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"log/slog"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	clocktesting "k8s.io/utils/clock/testing"
)

// TestWorkBeginsOnlyWhenItsReportIsWritten has an earlier write end after an assignment
// was taken.
func TestWorkBeginsOnlyWhenItsReportIsWritten(t *testing.T) {
	g := NewWithT(t)
	agent := New(Config{PodUID: "pod"}, nil, &fakePipeline{}, NewMetrics(prometheus.NewRegistry()),
		clocktesting.NewFakeClock(time.Now()), slog.New(slog.DiscardHandler))
	runner := assigned()
	runner.UID, runner.ResourceVersion = "runner", "1"
	agent.observe(runner)
	earlier := base(agent.ledger)

	runner = assigned(key{"a", 1})
	runner.UID, runner.ResourceVersion = "runner", "2"
	agent.observe(runner)
	g.Expect(agent.current).NotTo(BeNil())
	agent.ledger.accepted(earlier, 0, "3")
	agent.written()
	g.Expect(agent.current.begun).To(BeFalse())

	agent.ledger.accepted(base(agent.ledger), 0, "4")
	agent.written()
	g.Expect(agent.current.begun).To(BeTrue())
	agent.cancel(context.Canceled)
	g.Eventually(agent.ends).Should(Receive())
}
