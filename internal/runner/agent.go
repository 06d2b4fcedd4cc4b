// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/clock"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/modelstore/cache"
	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
)

// tidyInterval is how often the kept pictures are looked through.
const tidyInterval = time.Hour

// Config of an Agent.
type Config struct {
	// PodUID of the pod that this process runs in. Only a Runner that names it is ours.
	PodUID types.UID
	// ModelsDir is where the models volume is mounted.
	ModelsDir string
	// Cache keeps models that are not on the models volume; nil is none.
	Cache *cache.Cache
	// Credentials for where models are published.
	Credentials fetch.Credentials
	// OutputsDir is where the outputs volume is mounted.
	OutputsDir string
	// StoresDir has a directory with credentials for each store that has some.
	StoresDir string
	// Version of this runner.
	Version string
	// StartTime of the process.
	StartTime time.Time
	// ShutdownTimeout bounds the time between being told to end and ending. It has to
	// be shorter than the pod's grace period.
	ShutdownTimeout time.Duration
	// StopTimeout is how long cancelled work may take to stop before the process
	// counts as stuck.
	StopTimeout time.Duration
}

// Agent runs what one Runner assigns to this process.
type Agent struct {
	config   Config
	bootID   string
	client   *Client
	clock    clock.Clock
	log      *slog.Logger
	metrics  *Metrics
	ledger   *ledger
	bench    *bench
	contact  *contact
	observed chan *v1alpha1.Runner
	ends     chan end

	// What follows belongs to the loop.

	// runner as last observed; nil where there is none.
	runner *v1alpha1.Runner
	// adopted is the uid of the Runner whose reports the ledger took over.
	adopted types.UID
	// current is the attempt in hand; nil when there is none.
	current *attempt
	// watching is true once the API server has said what there is to do.
	watching bool
	// supplanted is true once another process of this pod has taken the Runner over.
	supplanted bool
	// stopping is true once the process has to end, with exit, at the latest at deadline.
	stopping bool
	exit     error
	deadline <-chan time.Time

	// What follows is read by probes.

	ready       atomic.Bool
	cancelledAt atomic.Pointer[time.Time]
}

// New makes an agent. It touches neither the API server nor the pipeline.
func New(config Config, client *Client, pipeline Pipeline, metrics *Metrics, clk clock.Clock, log *slog.Logger) *Agent {
	bootID := string(uuid.NewUUID())
	ledger := newLedger(clk, firstStatus(config, bootID, pipeline.Health(), clk.Now()))
	return &Agent{
		config:  config,
		bootID:  bootID,
		client:  client,
		clock:   clk,
		log:     log.With("bootID", bootID),
		metrics: metrics,
		ledger:  ledger,
		contact: newContact(clk),
		bench: &bench{
			pipeline:   pipeline,
			ledger:     ledger,
			clock:      clk,
			metrics:    metrics,
			modelsDir:  config.ModelsDir,
			store:      &store{cache: config.Cache, credentials: config.Credentials, storesDir: config.StoresDir},
			outputsDir: config.OutputsDir,
			spool:      spool(config.OutputsDir),
			version:    config.Version,
		},
		observed: make(chan *v1alpha1.Runner),
		ends:     make(chan end, 1),
	}
}

// Run works until ctx is done, the pipeline can't be mended (ErrPipelineUnhealthy) or
// another process took over (ErrSupplanted). When it returns, the work in hand has
// stopped and the status says so, unless that takes longer than the shutdown timeout.
func (a *Agent) Run(ctx context.Context) error {
	// An ending process still has things to learn and to say, so that the watcher and
	// the writer outlive ctx.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop()
	a.client.answered = a.contact.note
	helpers.Go(func() { watchRunner(background, a.client, a.observed) })
	w := &writer{client: a.client, ledger: a.ledger, clock: a.clock, log: a.log, metrics: a.metrics, observed: a.observed}
	helpers.Go(func() { w.run(background) })
	helpers.Go(func() { a.contact.keep(background, a.client.ask) })
	helpers.Go(func() { a.tidy(background) })
	return a.loop(ctx)
}

// tidy removes pictures that were kept for too long, also while there are no jobs. It goes
// by the clock of the files, whatever the agent's is.
func (a *Agent) tidy(ctx context.Context) {
	ticker := time.NewTicker(tidyInterval)
	defer ticker.Stop()
	for {
		if err := a.bench.spool.tidy(time.Now()); err != nil {
			a.log.Warn("Kept pictures not looked through", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// loop takes one event after another. What follows from an event is one write.
func (a *Agent) loop(ctx context.Context) error {
	terminated := ctx.Done()
	for !a.over() {
		var handle func()
		select {
		case runner := <-a.observed:
			handle = func() { a.observe(runner) }
		case <-a.ledger.wrote:
			handle = a.written
		case end := <-a.ends:
			handle = func() { a.finish(end) }
		case <-terminated:
			terminated = nil
			handle = func() { a.terminate(nil, "the process was told to end") }
		case <-a.deadline:
			return errors.Join(a.exit, errors.New("the shutdown timeout ended before everything was stopped and reported"))
		}
		a.ledger.batch(handle)
	}
	return a.exit
}

// over reports whether the process may end.
func (a *Agent) over() bool { return a.stopping && a.current == nil && a.ledger.idle() }

// act decides and does what was decided.
func (a *Agent) act() {
	d := decide(a.situation())
	if d.cancel && a.cancel(errRemoved) {
		// It was over at once, and what follows from that was decided on and done.
		return
	}
	if len(d.drop) == 0 && len(d.crashed) == 0 && d.take == nil {
		return
	}
	edit := a.ledger.edit(now, func(s *v1alpha1.RunnerStatus) { record(s, d, a.clock.Now()) })
	for _, k := range d.crashed {
		a.log.Warn("Assignment was cut short by the end of an earlier process", "jobUID", k.uid, "attempt", k.attempt)
		a.metrics.ended(crashed())
	}
	if d.take != nil {
		a.take(d.take, edit)
	}
}

// situation gathers what decide needs.
func (a *Agent) situation() situation {
	s := situation{
		runner:   a.runner,
		podUID:   a.config.PodUID,
		reports:  a.ledger.read().Assignments,
		stopping: a.stopping,
	}
	if a.current != nil {
		s.running = a.current.key
	}
	return s
}

// record writes a decision into the reports.
func record(s *v1alpha1.RunnerStatus, d decision, at time.Time) {
	for _, k := range d.drop {
		dropReport(s, k)
	}
	for _, k := range d.crashed {
		fail(findReport(s, k), crashed(), at)
	}
	if d.take != nil {
		s.Assignments = append(s.Assignments, newReport(d.take, at))
	}
}

// terminate begins the end of the process, at most once.
func (a *Agent) terminate(exit error, message string) {
	if a.stopping {
		return
	}
	a.log.Info("Terminating", "reason", message)
	a.stopping, a.exit = true, exit
	a.ready.Store(false)
	a.deadline = a.clock.After(a.config.ShutdownTimeout)
	a.ledger.edit(now, func(s *v1alpha1.RunnerStatus) {
		setReady(s, a.clock.Now(), false, v1alpha1.ReasonTerminating, message)
	})
	if a.current != nil {
		a.cancel(errTerminating)
	}
}
