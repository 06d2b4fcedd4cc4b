// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// Outcomes of an assignment, where they are not the reason of a failure.
const (
	outcomeSucceeded = "Succeeded"
	outcomeCancelled = v1alpha1.ReasonCancelled
)

// Metrics of a runner. No label carries a name, an id or a word of a prompt.
type Metrics struct {
	assignments  *prometheus.CounterVec
	stages       *prometheus.HistogramVec
	loads        *prometheus.CounterVec
	prefetches   *prometheus.CounterVec
	writes       *prometheus.CounterVec
	healthy      prometheus.Gauge
	startToReady prometheus.Gauge
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		assignments: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atelier_runner_assignments_total",
			Help: "Assignments that ended, by outcome: Succeeded, Cancelled or the reason of the failure.",
		}, []string{"outcome"}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "atelier_runner_stage_duration_seconds",
			Help: "Time spent loading a model that was not loaded yet, generating, and saving.",
			// 10 ms to 22 minutes.
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 18),
		}, []string{"stage"}),
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atelier_runner_model_loads_total",
			Help: "Loads of a model that was not loaded yet, by result: loaded or failed.",
		}, []string{"result"}),
		prefetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atelier_runner_model_prefetches_total",
			Help: "Models brought to the cache and read before a job wanted them, by result: brought or failed. One that was cut short is not counted.",
		}, []string{"result"}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atelier_runner_status_writes_total",
			Help: "Writes of the Runner's status, by result: written or failed. A failed one is tried again.",
		}, []string{"result"}),
		healthy: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "atelier_runner_pipeline_healthy",
			Help: "1 while the pipeline is idle or wholly loaded, 0 while it is not.",
		}),
		startToReady: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "atelier_runner_start_to_ready_seconds",
			Help: "Time from the start of the process until it could take assignments.",
		}),
	}
	registry.MustRegister(m.assignments, m.stages, m.loads, m.prefetches, m.writes, m.healthy, m.startToReady)
	m.health(true)
	return m
}

// stage starts a stage's clock and gives the function that stops it.
func (m *Metrics) stage(stage v1alpha1.Phase, clk clock.PassiveClock) func() {
	begin := clk.Now()
	return func() { m.stages.WithLabelValues(string(stage)).Observe(clk.Since(begin).Seconds()) }
}

func (m *Metrics) load(took time.Duration, err error) {
	m.stages.WithLabelValues(string(v1alpha1.PhaseModelLoading)).Observe(took.Seconds())
	m.loads.WithLabelValues(result(err, "loaded")).Inc()
}

func (m *Metrics) prefetched(err error) {
	m.prefetches.WithLabelValues(result(err, "brought")).Inc()
}

func (m *Metrics) wrote(err error) { m.writes.WithLabelValues(result(err, "written")).Inc() }

func (m *Metrics) ended(err error) {
	var f *failure
	outcome := outcomeSucceeded
	switch {
	case errors.As(err, &f):
		outcome = f.reason
	case err != nil:
		outcome = outcomeCancelled
	}
	m.assignments.WithLabelValues(outcome).Inc()
}

func (m *Metrics) health(healthy bool) {
	value := 0.0
	if healthy {
		value = 1
	}
	m.healthy.Set(value)
}

func result(err error, good string) string {
	if err != nil {
		return "failed"
	}
	return good
}
