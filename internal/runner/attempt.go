// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// attempt is the assignment that the agent has in hand.
type attempt struct {
	key  key
	work *work
	// reported is the edit that the API server must have before the work begins.
	reported int64
	// begun is true once the work runs, and stays so until it is over.
	begun  bool
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// end is what became of an attempt.
type end struct {
	outputs []v1alpha1.Output
	err     error
}

// take makes an assignment the current one. Its work begins when the API server has its
// report, which is the given edit or a later one.
func (a *Agent) take(assignment *v1alpha1.Assignment, reported int64) {
	log := a.log.With("job", assignment.JobName, "jobNamespace", assignment.JobNamespace, "jobUID", assignment.UID, "attempt", assignment.Attempt)
	log.Info("Assignment taken", "model", assignment.Model.Name)
	ctx, cancel := context.WithCancelCause(context.Background())
	w := &work{bench: a.bench, assignment: assignment.DeepCopy(), log: log, next: nextModel(&a.runner.Spec, assignment)}
	if w.begin() {
		reported = w.skipLoading()
	}
	a.current = &attempt{
		key:      keyOf(assignment),
		work:     w,
		reported: reported,
		ctx:      ctx,
		cancel:   cancel,
	}
}

// written begins the current work once its report is written.
func (a *Agent) written() {
	a.ready.Store(a.adopted != "" && !a.stopping)
	current := a.current
	if current == nil || current.begun {
		return
	}
	if written, _ := a.ledger.progress(); written < current.reported {
		return
	}
	current.begun = true
	go func() {
		outputs, err := current.work.run(current.ctx)
		a.ends <- end{outputs: outputs, err: err}
	}()
}

// cancel has the current work stop. It is true when the work is over with that, as it
// had not begun.
func (a *Agent) cancel(cause error) bool {
	current := a.current
	if !current.begun {
		a.finish(end{err: cause})
		return true
	}
	if current.ctx.Err() == nil {
		current.work.log.Info("Work is being stopped", "cause", cause.Error())
		current.cancel(cause)
		at := a.clock.Now()
		a.cancelledAt.Store(&at)
	}
	return false
}

// finish reports what became of the current work and goes on with the next.
func (a *Agent) finish(e end) {
	current := a.current
	a.current = nil
	current.cancel(nil)
	a.cancelledAt.Store(nil)
	if !slices.ContainsFunc(a.situation().wanted(), func(w v1alpha1.Assignment) bool { return keyOf(&w) == current.key }) {
		e = end{err: errRemoved}
	}
	if errors.Is(e.err, errTerminating) {
		e.err = lost()
	}
	a.ledger.edit(now, func(s *v1alpha1.RunnerStatus) {
		a.mirror(s)
		conclude(s, current.key, e, a.clock.Now())
	})
	a.metrics.ended(e.err)
	logEnd(current.work.log, e)
	if errors.Is(e.err, ErrPipelineUnhealthy) {
		a.terminate(ErrPipelineUnhealthy, "the pipeline stayed unhealthy after a reload, and a new process starts afresh")
	}
	a.act()
}

// mirror brings what the status says of the pipeline up to date after work that may
// have stopped anywhere.
func (a *Agent) mirror(s *v1alpha1.RunnerStatus) {
	health := a.bench.pipeline.Health()
	_, loaded := a.bench.pipeline.Loaded()
	if !loaded {
		s.Model = nil
	}
	if !loaded || !health.Healthy {
		setHealth(s, a.clock.Now(), health)
	}
	a.metrics.health(health.Healthy)
}

// conclude ends or drops the report on an attempt.
func conclude(s *v1alpha1.RunnerStatus, k key, e end, at time.Time) {
	report := findReport(s, k)
	if report == nil {
		return
	}
	var f *failure
	switch {
	case e.err == nil:
		succeed(report, e.outputs, at)
	case errors.As(e.err, &f):
		fail(report, f, at)
	default:
		dropReport(s, k)
	}
}
