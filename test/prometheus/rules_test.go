// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package prometheus_test checks config/prometheus against what the programs measure.
package prometheus_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/yaml"

	// Both register their metrics.
	_ "github.com/atelier-dev/atelier/internal/controller"
	"github.com/atelier-dev/atelier/internal/runner"
)

// rules is the part of a PrometheusRule that is looked at.
type rules struct {
	Spec struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
}

// metricName matches the names of Atelier's own metrics and of those that come with
// controller-runtime.
var metricName = regexp.MustCompile(`\b(?:atelier|controller_runtime)_[a-z_]+`)

// TestRulesNameMetricsThatExist sees to it that no alert stays silent because its metric
// has another name by now.
func TestRulesNameMetricsThatExist(t *testing.T) {
	g := NewWithT(t)
	runnerMetrics := prometheus.NewRegistry()
	runner.NewMetrics(runnerMetrics)
	g.Expect(registered(metrics.Registry, "atelier_no_such_metric")).To(BeFalse())

	alerts := 0
	for _, group := range read(g).Spec.Groups {
		for _, rule := range group.Rules {
			alerts++
			names := metricName.FindAllString(rule.Expr, -1)
			if len(names) == 0 {
				g.Expect(rule.Expr).To(MatchRegexp(`\bup\{`), "%s uses no metric", rule.Alert)
			}
			names = append(names, metricName.FindAllString(rule.Annotations["description"], -1)...)
			for _, name := range names {
				name = strings.TrimSuffix(name, "_bucket")
				g.Expect(registered(metrics.Registry, name) || registered(runnerMetrics, name)).To(BeTrue(), "%s names %s, which nothing registers", rule.Alert, name)
			}
		}
	}
	g.Expect(alerts).To(BeNumerically(">", 5))
}

func TestAlertsSayWhatTheyMean(t *testing.T) {
	g := NewWithT(t)
	seen := map[string]bool{}
	for _, group := range read(g).Spec.Groups {
		for _, rule := range group.Rules {
			g.Expect(rule.Alert).To(HavePrefix("Atelier"))
			g.Expect(seen[rule.Alert]).To(BeFalse(), "%s is there twice", rule.Alert)
			seen[rule.Alert] = true
			g.Expect(rule.Labels["severity"]).To(BeElementOf("warning", "critical"), rule.Alert)
			g.Expect(rule.Annotations["summary"]).To(HaveSuffix("."), rule.Alert)
			g.Expect(rule.Annotations["description"]).NotTo(BeEmpty(), rule.Alert)
			g.Expect(strings.Count(rule.Expr, "(")).To(Equal(strings.Count(rule.Expr, ")")), rule.Alert)
		}
	}
}

func read(g Gomega) rules {
	data, err := os.ReadFile(filepath.Join("..", "..", "config", "prometheus", "rules.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	var r rules
	g.Expect(yaml.Unmarshal(data, &r)).To(Succeed())
	return r
}

// registered reports whether a metric has the name: then a registry refuses another.
func registered(registry prometheus.Registerer, name string) bool {
	probe := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "Whether there is one."})
	if registry.Register(probe) != nil {
		return true
	}
	registry.Unregister(probe)
	return false
}
