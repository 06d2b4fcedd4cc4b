// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/schedule"
)

// The labels of pools' metrics.
const (
	labelNamespace = "namespace"
	labelPool      = "pool"
	labelState     = "state"
	labelLoad      = "load"
)

var (
	poolJobs = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "atelier_pool_pending_jobs",
		Help: "Jobs that wait for a runner of the pool.",
	}, []string{labelNamespace, labelPool})

	poolRunners = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "atelier_pool_runners",
		Help: "Runners of the pool, each in one state: pending (no node yet), starting, idle, busy, unready (with jobs, but not ready), " +
			"draining (its node is being emptied) or terminating.",
	}, []string{labelNamespace, labelPool, labelState})

	runnersLost = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atelier_pool_runners_lost_total",
		Help: "Runners that were given up because they had jobs and nothing was heard of them for too long.",
	}, []string{labelNamespace, labelPool})

	bindings = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atelier_pool_bindings_total",
		Help: "Jobs that were given to a runner, by what it takes to have their model there: none (it is loaded), load or swap.",
	}, []string{labelNamespace, labelPool, labelLoad})
)

func init() {
	metrics.Registry.MustRegister(poolJobs, poolRunners, runnersLost, bindings)
}

// load is what it takes to have a job's model loaded on a runner.
type load string

const (
	loadNone load = "none"
	loadFull load = "load"
	loadSwap load = "swap"
)

// loadFor returns what it takes where a runner has one model and needs another.
func loadFor(has, needs schedule.Model) load {
	switch has {
	case needs:
		return loadNone
	case schedule.Model{}:
		return loadFull
	}
	return loadSwap
}

// countBindings records what a runner was given.
func countBindings(runner *v1alpha1.Runner, loads []load) {
	for _, l := range loads {
		bindings.WithLabelValues(runner.Namespace, runner.Spec.PoolName, string(l)).Inc()
	}
}

// The states of a runner.
const (
	statePending     = "pending"
	stateStarting    = "starting"
	stateIdle        = "idle"
	stateBusy        = "busy"
	stateUnready     = "unready"
	stateDraining    = "draining"
	stateTerminating = "terminating"
)

// stateOf returns the state of a runner that is not terminating.
func stateOf(m *member) string {
	switch {
	case m.drained != "":
		return stateDraining
	case m.ready() && m.jobs() > 0:
		return stateBusy
	case m.ready():
		return stateIdle
	case m.jobs() > 0:
		return stateUnready
	case m.pod.Spec.NodeName == "":
		return statePending
	}
	return stateStarting
}

// gaugePool records how a pool stands with the plan.
func gaugePool(pool types.NamespacedName, plan *poolPlan) {
	states := map[string]int{
		statePending: 0, stateStarting: 0, stateIdle: 0, stateBusy: 0, stateUnready: 0, stateDraining: 0,
		stateTerminating: len(plan.leaving),
	}
	for _, m := range plan.members {
		states[stateOf(m)]++
	}
	poolJobs.WithLabelValues(pool.Namespace, pool.Name).Set(float64(plan.pending))
	for state, n := range states {
		poolRunners.WithLabelValues(pool.Namespace, pool.Name, state).Set(float64(n))
	}
}

// forgetPool ends the series of a pool that is no more.
func forgetPool(pool types.NamespacedName) {
	labels := prometheus.Labels{labelNamespace: pool.Namespace, labelPool: pool.Name}
	poolJobs.DeletePartialMatch(labels)
	poolRunners.DeletePartialMatch(labels)
	runnersLost.DeletePartialMatch(labels)
	bindings.DeletePartialMatch(labels)
}
