// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"log/slog"
	"runtime/debug"

	"k8s.io/utils/clock"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// Pipeline is what the runner needs of a *pipeline.Pipeline.
type Pipeline interface {
	Health() pipeline.Health
	Loaded() (pipeline.Model, bool)
	Facts() pipeline.Facts
	Device() (ort.Device, bool)
	Load(ctx context.Context, model pipeline.Model) error
	Unload() error
	ComputeEmbedding(ctx context.Context, prompt string) (*ort.Tensor, []string, error)
	Generate(ctx context.Context, request pipeline.Request, observe func(done, total int)) (pipeline.Result, error)
}

var _ Pipeline = (*pipeline.Pipeline)(nil)

// bench is what all work shares.
type bench struct {
	pipeline   Pipeline
	ledger     *ledger
	clock      clock.PassiveClock
	metrics    *Metrics
	modelsDir  string
	store      *store
	outputsDir string
	spool      spool
	version    string
}

// work is one attempt at one assignment.
type work struct {
	*bench
	assignment *v1alpha1.Assignment
	log        *slog.Logger
	// health of the pipeline when the assignment was taken.
	health pipeline.Health
	// warm means that the pipeline was healthy then, with the model loaded.
	warm bool
	// next is the model to prefetch meanwhile; nil for none.
	next *v1alpha1.AssignedModel
	// kept means that the pictures were drawn by an earlier attempt.
	kept bool
}

// run does the work. The error is a *failure, or the cause of ctx once that is done.
func (w *work) run(ctx context.Context) (outputs []v1alpha1.Output, err error) {
	defer func() {
		if value := recover(); value != nil {
			w.log.Error("Work panicked", "panic", value, "stack", string(debug.Stack()))
			w.abandon()
			outputs, err = nil, panicked(value)
		}
	}()
	outputs, err = w.draw(ctx)
	if err != nil && ctx.Err() != nil {
		// Whatever broke did so because it was told to stop.
		return nil, context.Cause(ctx)
	}
	return outputs, err
}

// draw takes the assignment from Initializing, which was reported before, to files.
func (w *work) draw(ctx context.Context) ([]v1alpha1.Output, error) {
	to, err := w.openPlace(ctx)
	if err != nil {
		return nil, failed(v1alpha1.ReasonSaveFailed, err)
	}
	defer to.close()
	if err := w.prepare(ctx); err != nil {
		return nil, err
	}
	if err := w.computeEmbedding(ctx); err != nil {
		return nil, err
	}
	pictures, err := w.pictures(ctx)
	if err != nil {
		return nil, err
	}
	return w.save(ctx, to, pictures)
}

// pictures gives what is to be written: what an earlier attempt drew, where that was kept,
// else what is drawn now.
func (w *work) pictures(ctx context.Context) ([]finished, error) {
	if err := w.enterGenerating(ctx); err != nil {
		return nil, err
	}
	if unsaved := w.unsaved(); unsaved != nil {
		w.kept = true
		return unsaved, nil
	}
	drawn, err := w.generate(ctx)
	return w.finished(drawn), err
}

// computeEmbedding passes the placeholder's warning on to the user.
func (w *work) computeEmbedding(ctx context.Context) error {
	if !w.assignment.PrecomputeEmbedding {
		return nil
	}
	_, warnings, err := w.pipeline.ComputeEmbedding(ctx, w.assignment.Prompt)
	if err != nil {
		return failed(v1alpha1.ReasonGenerationFailed, err)
	}
	w.edit(soon, func(_ *v1alpha1.RunnerStatus, r *v1alpha1.AssignmentReport) { warn(r, warnings) })
	return nil
}

// generate draws the pictures and reports each call of the network. How many there will be
// is known to the pipeline, which says so before the first.
func (w *work) generate(ctx context.Context) ([]pipeline.Picture, error) {
	defer w.metrics.stage(v1alpha1.PhaseGenerating, w.clock)()
	defer w.prefetch(ctx)()
	request, err := w.request()
	if err != nil {
		return nil, failed(v1alpha1.ReasonGenerationFailed, err)
	}
	result, err := w.pipeline.Generate(ctx, request, w.step)
	if err != nil {
		return nil, failed(v1alpha1.ReasonGenerationFailed, err)
	}
	if len(result.Warnings) > 0 {
		w.edit(soon, func(_ *v1alpha1.RunnerStatus, r *v1alpha1.AssignmentReport) { warn(r, result.Warnings) })
	}
	return result.Pictures, nil
}

// enterGenerating reports that the model is loaded, unless the first report said so.
func (w *work) enterGenerating(ctx context.Context) error {
	if w.warm {
		return nil
	}
	return w.enter(ctx, v1alpha1.PhaseGenerating, v1alpha1.ProgressGenerating, nil)
}

// step reports a denoising step. It never waits for the API server: a step that is not
// written before the next is done is left out.
func (w *work) step(done, total int) {
	w.edit(soon, func(_ *v1alpha1.RunnerStatus, r *v1alpha1.AssignmentReport) { stepped(r, done, total) })
}

// enter reports the next phase and waits until the API server has it. What was urgent
// before is written first, so that no one who watches misses a phase.
func (w *work) enter(ctx context.Context, phase v1alpha1.Phase, progress int32, change func(*v1alpha1.RunnerStatus, *v1alpha1.AssignmentReport)) error {
	if err := w.ledger.sync(ctx); err != nil {
		return err
	}
	w.edit(now, func(s *v1alpha1.RunnerStatus, r *v1alpha1.AssignmentReport) {
		advance(r, phase, progress, w.clock.Now())
		if change != nil {
			change(s, r)
		}
	})
	if err := w.ledger.sync(ctx); err != nil {
		return err
	}
	w.log.Info("Phase entered", "phase", phase)
	return nil
}

// edit changes this work's report, and the rest of the status where that goes with it.
func (w *work) edit(when urgency, change func(*v1alpha1.RunnerStatus, *v1alpha1.AssignmentReport)) int64 {
	return w.ledger.edit(when, func(status *v1alpha1.RunnerStatus) {
		if report := findReport(status, keyOf(w.assignment)); report != nil {
			change(status, report)
		}
	})
}

// abandon unloads a pipeline of which nothing is known any more.
func (w *work) abandon() {
	defer func() {
		if value := recover(); value != nil {
			w.log.Error("Unloading panicked too", "panic", value, "stack", string(debug.Stack()))
		}
	}()
	if err := w.pipeline.Unload(); err != nil {
		w.log.Error("Pipeline not unloaded cleanly", "error", err)
	}
}
