// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Alive gives an error when the process is stuck and only a new one can help: work that
// was cancelled does not stop, and so the device does not become free.
func (a *Agent) Alive() error {
	at := a.cancelledAt.Load()
	if at == nil {
		return nil
	}
	if stuck := a.clock.Since(*at); stuck > a.config.StopTimeout {
		return fmt.Errorf("cancelled work has not stopped for %s", stuck.Round(time.Second))
	}
	return nil
}

// Ready gives an error while the process takes no assignments, or none can reach it.
func (a *Agent) Ready() error {
	if !a.ready.Load() {
		return fmt.Errorf("the Runner of this pod does not say yet, or any more, that it takes assignments")
	}
	return a.contact.err()
}

// Handler serves /healthz and /readyz for probes, and /metrics.
func (a *Agent) Handler(metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", probe(a.Alive))
	mux.HandleFunc("GET /readyz", probe(a.Ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// probe answers 200 or, with the error as its text, 503.
func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	}
}
