// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// play is a course of events with everything in it that a job can meet: success, a retry,
// a final failure, a lost pod, a deletion.
func play(w *world) error {
	w.addModel("cat")
	w.addPool(2, 1)
	for i := range 4 {
		w.addJob(fmt.Sprint("job-", i), "cat", 1)
	}
	crashed := &v1alpha1.AssignmentError{Reason: v1alpha1.ReasonRunnerCrashed, Message: "killed", Retryable: true}
	invalid := &v1alpha1.AssignmentError{Reason: v1alpha1.ReasonInvalidRequest, Message: "width", Retryable: false}
	for turn := range 40 {
		w.round()
		runners := all[*v1alpha1.Runner](w)
		switch {
		case turn == 5 && len(runners) > 0:
			w.stepRunner(runners[0], crashed)
		case turn == 7 && len(runners) > 1:
			w.must(w.truth.Delete(w.ctx, w.alive(runners[1])))
		case turn == 20 && len(runners) > 0:
			w.stepRunner(runners[0], invalid)
		case turn == 22:
			w.must(w.truth.Delete(w.ctx, all[*v1alpha1.GenerationJob](w)[3]))
		}
		if w.broken != nil {
			return w.broken
		}
	}
	return w.settle()
}

// TestAFaultAtEveryWrite plays the same course again and again, and each time another
// write of the manager meets another fate.
func TestAFaultAtEveryWrite(t *testing.T) {
	undisturbed := newWorld(0)
	if err := play(undisturbed); err != nil {
		t.Fatal(err)
	}
	points := 0
	for _, f := range []fate{fateLost, fateUnheard, fateConflict, fateDeath} {
		for n := 1; n <= undisturbed.writes; n++ {
			w := newWorld(0)
			var met string
			w.fault = func(i int, what string) fate {
				if i != n {
					return fateDone
				}
				met = what
				return f
			}
			if err := play(w); err != nil {
				t.Errorf("write %d (%s), %v: %v", n, met, f, err)
			}
			points++
		}
	}
	t.Logf("%d writes, %d faults", undisturbed.writes, points)
}

// TestAnUnheardBindingIsNotRepeated binds a job by a write that succeeds and says it did
// not, and then offers another runner.
func TestAnUnheardBindingIsNotRepeated(t *testing.T) {
	w := newWorld(0)
	w.addModel("cat")
	w.addPool(2, 1)
	pool := w.thePool()
	pool.Spec.MinRunners = pool.Spec.MaxRunners
	w.must(w.truth.Update(w.ctx, pool))
	if err := w.settle(); err != nil {
		t.Fatal(err)
	}

	// Both runners are idle; the manager believes that the first is not ready.
	ready := func(is metav1.ConditionStatus) {
		runner := all[*v1alpha1.Runner](w)[0]
		runner.Status.Conditions[0].Status = is
		w.must(w.truth.Status().Update(w.ctx, runner))
		w.catchUp(keyOf(runner))
	}
	ready(metav1.ConditionFalse)
	w.addJob("apple", "cat", 1)
	job := all[*v1alpha1.GenerationJob](w)[0]
	w.catchUp(keyOf(job))
	w.work(job)
	w.fault = func(int, string) fate { return fateUnheard }
	w.work(w.thePool())
	w.fault = func(int, string) fate { return fateDone }
	if bound := all[*v1alpha1.Runner](w)[1].Spec.Assignments; len(bound) != 1 {
		t.Fatalf("the second runner has %v", bound)
	}
	ready(metav1.ConditionTrue)
	w.work(w.thePool())
	if w.broken != nil {
		t.Error(w.broken)
	}
	if err := w.settle(); err != nil {
		t.Error(err)
	}
}

// TestAManagerWithOldNewsDoesNoHarm runs jobs to their end, and then lets a manager work
// that knows the world as it was at some moment before, as one might that has just taken
// over.
func TestAManagerWithOldNewsDoesNoHarm(t *testing.T) {
	w := newWorld(0)
	w.addModel("cat")
	w.addPool(1, 1)
	w.addJob("apple", "cat", 1)
	w.addJob("pear", "cat", 1)
	var past []simStore
	for !w.allEnded() {
		w.round()
		past = append(past, maps.Clone(w.cache))
	}
	for moment, cache := range past {
		for _, onlyJobs := range []bool{false, true} {
			w.remember(cache, onlyJobs)
			for _, o := range w.workload() {
				w.work(o)
			}
			w.check()
			for _, runner := range all[*v1alpha1.Runner](w) {
				if len(runner.Spec.Assignments) > 0 {
					t.Fatalf("moment %d of %d, only jobs old: %t: %s", moment, len(past), onlyJobs, w.describe())
				}
			}
			if w.broken != nil {
				t.Fatalf("moment %d of %d, only jobs old: %t: %v", moment, len(past), onlyJobs, w.broken)
			}
		}
	}
}

// remember puts the cache back to a moment before; all of it, or only what it
// knows of jobs.
func (w *world) remember(cache simStore, onlyJobs bool) {
	w.cache = maps.Clone(cache)
	for _, key := range w.stale() {
		if onlyJobs && key.kind.Kind != "GenerationJob" {
			w.catchUp(key)
		}
	}
}

// TestSimulatedChaos draws worlds in which anything may happen at any time.
func TestSimulatedChaos(t *testing.T) {
	seeds, steps := uint64(60), 250
	if testing.Short() {
		seeds = 10
	}
	writes := 0
	for seed := range seeds {
		w := newWorld(seed)
		w.addPool(1+w.random.Int32N(3), 1+w.random.Int32N(2))
		w.addModel("cat")
		for step := range steps {
			w.happen(step)
			if w.broken != nil {
				t.Fatalf("seed %d, step %d: %v%s", seed, step, w.broken, w.describe())
			}
		}
		w.addMissing()
		if err := w.settle(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		writes += w.writes
	}
	t.Logf("%d worlds of %d steps, %d writes of the manager", seeds, steps, writes)
}

// addMissing creates the model that jobs may wait for.
func (w *world) addMissing() {
	if !slices.ContainsFunc(all[*v1alpha1.Model](w), func(m *v1alpha1.Model) bool { return m.Name == "dog" }) {
		w.addModel("dog")
	}
}

// happen lets one thing happen.
func (w *world) happen(step int) {
	w.fault = func(int, string) fate {
		if w.random.IntN(12) > 0 {
			return fateDone
		}
		return fate(w.random.IntN(int(fateDeath) + 1))
	}
	switch w.random.IntN(20) {
	case 0:
		if len(all[*v1alpha1.GenerationJob](w)) < 8 {
			w.addJob(fmt.Sprint("job-", step), []string{"cat", "dog"}[w.random.IntN(2)], w.random.Int32N(3))
		}
	case 1:
		w.disturb()
	case 2:
		w.clock.SetTime(w.clock.Now().Add(time.Duration(w.random.IntN(20)) * time.Second))
	case 3:
		w.collectGarbage()
	case 4, 5, 6, 7, 8, 9:
		if runner, ok := pick(w, all[*v1alpha1.Runner](w)); ok {
			w.stepRunner(runner, w.drawFailure())
		}
	case 10, 11, 12, 13, 14:
		if key, ok := pick(w, w.stale()); ok {
			w.catchUp(key)
		}
	default:
		if o, ok := pick(w, w.workload()); ok {
			w.work(o)
		}
	}
}

func pick[T any](w *world, from []T) (T, bool) {
	if len(from) == 0 {
		var none T
		return none, false
	}
	return from[w.random.IntN(len(from))], true
}

// drawFailure is mostly none.
func (w *world) drawFailure() *v1alpha1.AssignmentError {
	switch w.random.IntN(30) {
	case 0:
		return &v1alpha1.AssignmentError{Reason: v1alpha1.ReasonGenerationFailed, Message: "NaN", Retryable: true}
	case 1:
		return &v1alpha1.AssignmentError{Reason: v1alpha1.ReasonModelInvalid, Message: "unet/model.onnx"}
	case 2:
		return &v1alpha1.AssignmentError{Reason: v1alpha1.ReasonRunnerLost, Message: "terminating", Retryable: true}
	}
	return nil
}

// disturb is what the outside does to a cluster.
func (w *world) disturb() {
	switch w.random.IntN(6) {
	case 0:
		if pod, ok := pick(w, all[*corev1.Pod](w)); ok {
			w.must(w.truth.Delete(w.ctx, pod))
		}
	case 1:
		if pod, ok := pick(w, all[*corev1.Pod](w)); ok {
			pod.Status.Phase = "Failed"
			w.must(w.truth.Status().Update(w.ctx, pod))
		}
	case 2:
		if job, ok := pick(w, all[*v1alpha1.GenerationJob](w)); ok {
			w.must(w.truth.Delete(w.ctx, job))
		}
	case 3:
		w.startManager()
	case 4:
		w.addMissing()
	case 5:
		w.crash()
	}
}

// crash ends a runner's process; the next one reports what it had begun as crashed.
func (w *world) crash() {
	runner, ok := pick(w, all[*v1alpha1.Runner](w))
	if !ok || w.alive(runner) == nil {
		return
	}
	for i := range runner.Status.Assignments {
		if r := &runner.Status.Assignments[i]; r.Phase != v1alpha1.PhaseSucceeded && r.Phase != v1alpha1.PhaseFailed {
			r.Phase = v1alpha1.PhaseFailed
			r.Error = &v1alpha1.AssignmentError{Reason: v1alpha1.ReasonRunnerCrashed, Message: "killed", Retryable: true}
		}
	}
	w.must(w.truth.Status().Update(w.ctx, runner))
}
