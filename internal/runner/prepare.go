// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// begin checks the pipeline for an assignment that was just taken. It is true when there is
// nothing to load.
func (w *work) begin() bool {
	w.health = w.check(false)
	model, err := w.model()
	w.warm = w.health.Healthy && err == nil && w.isLoaded(model)
	return w.warm
}

// skipLoading has the first report say that the model is loaded already, after phases that
// took no time. It gives the edit. A report for each of them would be two writes more to say
// the same.
func (w *work) skipLoading() int64 {
	at := w.clock.Now()
	return w.edit(now, func(_ *v1alpha1.RunnerStatus, r *v1alpha1.AssignmentReport) {
		advance(r, v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading, at)
		advance(r, v1alpha1.PhaseGenerating, v1alpha1.ProgressGenerating, at)
		r.ModelLoaded = true
	})
}

// prepare brings the pipeline into the state that the generation needs: healthy, with
// the assignment's model loaded.
//
// Health is checked twice. First on taking the assignment, because what an earlier one
// left behind is to be known and reported before loading another model wipes it out,
// and because loading the model that is loaded already looks at nothing. Then again
// right before generating, because that is the state which the generation meets, and a
// load may have changed it. Asking costs nothing: it reads what is in memory.
//
// An unhealthy pipeline is unloaded and loaded again, once.
func (w *work) prepare(ctx context.Context) error {
	health := w.health
	if w.warm {
		if health = w.check(false); health.Healthy {
			return nil
		}
		w.warm = false
	}
	model, err := w.enterModelLoading(ctx)
	if err != nil {
		return err
	}
	defer w.letGo()
	if err := w.deliver(ctx, &model); err != nil {
		return failed(v1alpha1.ReasonModelPullFailed, err)
	}
	reloading := !health.Healthy
	for {
		err := w.load(ctx, model, reloading)
		health = w.check(reloading && err == nil)
		switch {
		case health.Healthy && err != nil:
			return w.loadFailed(err, reloading)
		case health.Healthy:
			return nil
		case reloading:
			return unhealthy(health)
		}
		reloading = true
	}
}

// check asks the pipeline for its health and reports the answer, which is written with
// whatever comes next: the phase, or what is done about it. mended says that the pipeline
// was just loaded again because it was unhealthy.
func (w *work) check(mended bool) pipeline.Health {
	health := w.pipeline.Health()
	if health.Healthy && mended {
		health.Reason = v1alpha1.ReasonReloaded
		health.Message = "the pipeline was unhealthy, and loading again mended it"
	}
	if !health.Healthy {
		w.log.Warn("Pipeline is unhealthy", "reason", health.Reason, "message", health.Message)
	}
	w.metrics.health(health.Healthy)
	w.edit(soon, func(s *v1alpha1.RunnerStatus, r *v1alpha1.AssignmentReport) {
		setHealth(s, w.clock.Now(), health)
		r.PipelineHealthy = reportedHealth(health)
	})
	return health
}

// enterModelLoading reports the phase, and in the same write that the model that is
// loaded is about to go where it is not the assignment's.
func (w *work) enterModelLoading(ctx context.Context) (pipeline.Model, error) {
	model, modelErr := w.model()
	err := w.enter(ctx, v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading,
		func(s *v1alpha1.RunnerStatus, _ *v1alpha1.AssignmentReport) {
			if modelErr == nil && model.Dir != "" && !w.isLoaded(model) {
				s.Model = nil
			}
		})
	if err != nil {
		return pipeline.Model{}, err
	}
	if modelErr != nil {
		return pipeline.Model{}, failed(v1alpha1.ReasonModelLoadFailed, modelErr)
	}
	return model, nil
}

// model is the assignment's model as the pipeline takes it. It has no Dir where that is
// known only once the model was looked up.
func (w *work) model() (pipeline.Model, error) {
	assigned := &w.assignment.Model
	dir, err := w.dir(assigned)
	if err != nil {
		return pipeline.Model{}, err
	}
	return pipeline.Model{
		Name:       assigned.Name,
		UID:        string(assigned.UID),
		Generation: assigned.Generation,
		Dir:        dir,
	}, nil
}

func (w *work) isLoaded(model pipeline.Model) bool {
	loaded, ok := w.pipeline.Loaded()
	return ok && loaded == model
}

// load loads the model, and first unloads whatever is there when that is unhealthy.
func (w *work) load(ctx context.Context, model pipeline.Model, reload bool) error {
	if reload {
		if err := w.unload(ctx); err != nil {
			return err
		}
	}
	fresh := !w.isLoaded(model)
	begin := w.clock.Now()
	err := w.pipeline.Load(ctx, model)
	took := w.clock.Since(begin)
	if fresh {
		w.metrics.load(took, err)
	}
	if err != nil {
		return err
	}
	if fresh {
		w.log.Info("Model loaded", "model", model.Name, "seconds", took.Seconds())
	}
	facts := w.facts(model)
	w.edit(soon, func(s *v1alpha1.RunnerStatus, r *v1alpha1.AssignmentReport) {
		r.ModelLoaded = true
		if fresh {
			s.Model = loadedModel(&w.assignment.Model, w.clock.Now(), took)
			s.Model.ModelFacts, s.Model.Digest = facts, w.store.digest(model.Dir)
		}
		if device, ok := w.pipeline.Device(); ok {
			s.Device = usedDevice(device)
		}
	})
	return nil
}

// loadFailed is said of a load that failed and left the pipeline idle. Where it was to
// mend the pipeline, it is also what became of the health check.
func (w *work) loadFailed(err error, reload bool) error {
	f := failed(v1alpha1.ReasonModelLoadFailed, err)
	if reload {
		w.edit(soon, func(_ *v1alpha1.RunnerStatus, r *v1alpha1.AssignmentReport) {
			r.PipelineHealthy = reportedHealth(pipeline.Health{Reason: v1alpha1.ReasonModelLoadFailed, Message: err.Error()})
		})
	}
	return f
}

// unload empties the pipeline, after the status says that its model is gone.
func (w *work) unload(ctx context.Context) error {
	w.edit(now, func(s *v1alpha1.RunnerStatus, r *v1alpha1.AssignmentReport) {
		s.Model = nil
		r.ModelLoaded = false
	})
	if err := w.ledger.sync(ctx); err != nil {
		return err
	}
	if err := w.pipeline.Unload(); err != nil {
		// Loading tries again, and the check after it says what came of it.
		w.log.Warn("Pipeline not unloaded cleanly", "error", err)
	}
	return nil
}
