// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// acts are courses of events with everything in them that a job can meet. Each begins with
// its jobs, and ends as said.
var acts = map[string]struct {
	begin func(w *world)
	ends  map[string]string
}{
	"failures": {
		begin: func(w *world) {
			w.addModel("dog")
			for i, name := range []string{"plain", "crashed", "invalid", "moved", "deleted"} {
				w.addJob(name, []string{"cat", "dog"}[i%2], 1)
			}
		},
		ends: map[string]string{
			"plain":   "Complete Succeeded 0",
			"crashed": "Complete Succeeded 1",
			"invalid": "Failed InvalidRequest 1",
			"moved":   "Complete Succeeded 0",
		},
	},
	"pools": {
		begin: func(w *world) {
			for _, name := range []string{"guest-stranded", "rolled", "drained", "guest-shut-out", "guest-late"} {
				w.addJob(name, "cat", 1)
			}
		},
		ends: map[string]string{
			"guest-stranded": "Complete Succeeded 0",
			"rolled":         "Complete Succeeded 0",
			"drained":        "Complete Succeeded 0",
			"guest-shut-out": "Complete Succeeded 0",
			"guest-late":     "Complete Succeeded 0",
		},
	},
	"wishes": {
		begin: func(w *world) {
			w.addJob("parked", "cat", 0)
			w.addJob("cancelled", "cat", 0)
			w.addJob("never-begun", "cat", 0, cancel)
			w.addJob("urgent", "cat", 0, func(spec *v1alpha1.GenerationJobSpec) { spec.PriorityClassName = new("urgent") })
			w.addJob("short-lived", "cat", 0, func(spec *v1alpha1.GenerationJobSpec) { spec.TTLSecondsAfterFinished = ptr.To[int32](30) })
		},
		ends: map[string]string{
			"parked":      "Complete Succeeded 0",
			"cancelled":   "Cancelled Cancelled 0",
			"never-begun": "Cancelled Cancelled 0",
			"urgent":      "Complete Succeeded 0",
		},
	},
	"deadlines": {
		begin: func(w *world) {
			w.addJob("slow", "cat", 0, func(spec *v1alpha1.GenerationJobSpec) { spec.ActiveDeadlineSeconds = ptr.To[int64](15) })
			w.addJob("stuck", "cat", 0, func(spec *v1alpha1.GenerationJobSpec) {
				spec.StageDeadlines = &v1alpha1.StageDeadlines{GenerateSeconds: ptr.To[int64](60)}
			})
			w.addJob("urgent", "cat", 0, func(spec *v1alpha1.GenerationJobSpec) {
				spec.PriorityClassName = new("urgent")
				spec.StageDeadlines = &v1alpha1.StageDeadlines{QueueSeconds: ptr.To[int64](15)}
			})
		},
		ends: map[string]string{
			"slow":   "Failed DeadlineExceeded 0",
			"stuck":  "Failed GenerateDeadlineExceeded 0",
			"urgent": "Failed QueueDeadlineExceeded 0",
		},
	},
}

// play plays an act until nothing happens any more.
func play(w *world, begin func(*world)) error {
	w.addModel("cat")
	w.addPool(2, 1)
	w.changePool(w.poolSpec)
	begin(w)
	for turn := 0; turn < 70 && (turn < 4 || !w.allEnded()); turn++ {
		w.round()
		switch turn {
		case 3:
			w.addClass("urgent", 1000)
		case 20:
			w.openPool()
		}
		w.interfere()
		if w.broken != nil {
			return w.broken
		}
	}
	w.openPool()
	return w.settle()
}

// interfere does to jobs what they are named for, in their first attempt, while their runners
// draw.
func (w *world) interfere() {
	for _, runner := range all[*v1alpha1.Runner](w) {
		for _, report := range runner.Status.Assignments {
			if report.Phase == v1alpha1.PhaseGenerating && report.Attempt == 1 {
				w.strike(w.seen[report.UID].Name, runner)
			}
		}
	}
	w.changeJobIn(v1alpha1.PhaseSuspended, resume)
}

func (w *world) strike(job string, runner *v1alpha1.Runner) {
	switch job {
	case "crashed":
		w.stepRunner(runner, &v1alpha1.AssignmentError{Reason: v1alpha1.ReasonRunnerCrashed, Message: "killed", Retryable: true})
	case "invalid":
		w.stepRunner(runner, &v1alpha1.AssignmentError{Reason: v1alpha1.ReasonInvalidRequest, Message: "width", Retryable: false})
	case "moved":
		w.must(w.truth.Delete(w.ctx, w.alive(runner)))
	case "stuck":
		w.hung[runner.Spec.PodUID] = true
	case "parked":
		w.changeJob(job, suspend)
	case "cancelled":
		w.changeJob(job, cancel)
	case "deleted":
		w.dropNamed(job)
	case "guest-stranded":
		if pod := w.alive(runner); pod != nil {
			w.failNode(pod.Spec.NodeName)
		}
	case "rolled":
		w.changePool(func(spec *v1alpha1.RunnerPoolSpec) { spec.Template = labelled("2") })
	case "guest-shut-out":
		w.allowGuests("no")
	case "drained":
		w.changePool(func(spec *v1alpha1.RunnerPoolSpec) { spec.Suspend = new(true) })
	}
}

// changeJobIn lets a user change the jobs in a phase.
func (w *world) changeJobIn(phase v1alpha1.Phase, change func(*v1alpha1.GenerationJobSpec)) {
	for _, job := range all[*v1alpha1.GenerationJob](w) {
		if job.Status.Phase == phase {
			w.changeJob(job.Name, change)
		}
	}
}

// dropNamed lets a user delete a job, if it still exists.
func (w *world) dropNamed(name string) {
	var job v1alpha1.GenerationJob
	if w.truth.Get(w.ctx, client.ObjectKey{Namespace: namespaceOf(name), Name: name}, &job) == nil {
		w.dropJob(&job)
	}
}

// ends says how each job has ended, with its failures that count.
func (w *world) ends() map[string]string {
	ends := map[string]string{}
	for _, job := range stored[*v1alpha1.GenerationJob](w) {
		if end := endOf(&job.Status); end != nil {
			ends[job.Name] = fmt.Sprintf("%s %s %d", end.Type, end.Reason, job.Status.Failures)
		}
	}
	return ends
}

// TestAFaultAtEveryWrite plays the same acts again and again, and each time another write of
// the manager meets another fate.
func TestAFaultAtEveryWrite(t *testing.T) {
	for name, act := range acts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			undisturbed := newWorld(0)
			if err := play(undisturbed, act.begin); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(act.ends, undisturbed.ends()); diff != "" {
				t.Fatalf("ends (-want +got):\n%s", diff)
			}
			points := 0
			for _, f := range []fate{fateLost, fateUnheard, fateConflict, fateDeath} {
				for n := 1; n <= undisturbed.writes; n++ {
					if met, err := disturbed(newWorld(0), act.begin, n, f); err != nil {
						t.Errorf("write %d (%s), %v: %v", n, met, f, err)
					}
					points++
				}
			}
			t.Logf("%d writes, %d faults", undisturbed.writes, points)
		})
	}
}

// disturbed plays an act in which the n-th write meets a fate. It returns what that write was.
func disturbed(w *world, begin func(*world), n int, f fate) (met string, err error) {
	w.fault = func(i int, what string) fate {
		if i != n {
			return fateDone
		}
		met = what
		return f
	}
	return met, play(w, begin)
}

// TestAnUnheardBindingIsNotRepeated binds a job by a write that succeeds and says it did
// not, and then offers another runner.
func TestAnUnheardBindingIsNotRepeated(t *testing.T) {
	w := newWorld(0)
	w.addModel("cat")
	w.addPool(2, 1)
	w.changePool(func(spec *v1alpha1.RunnerPoolSpec) { spec.MinRunners = spec.MaxRunners })
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
		past = append(past, maps.Clone(w.watched.cache))
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
	w.watched.cache = maps.Clone(cache)
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
		w.mend()
		if err := w.settle(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		writes += w.writes
	}
	t.Logf("%d worlds of %d steps, %d writes of the manager", seeds, steps, writes)
}

// mend undoes what would keep jobs waiting for ever: what they may wait for comes, the pool
// goes on and lets guests in, and there is a node to run on. Nodes that failed stay so.
func (w *world) mend() {
	w.addMissing()
	w.openPool()
	w.must(w.truth.Create(w.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-new"}}))
}

// openPool lets the pool go on, and everyone in.
func (w *world) openPool() {
	w.changePool(func(spec *v1alpha1.RunnerPoolSpec) { spec.Suspend = nil })
	w.allowGuests("yes")
}

// addMissing creates the model and the priority class that jobs may wait for.
func (w *world) addMissing() {
	if !slices.ContainsFunc(all[*v1alpha1.Model](w), func(m *v1alpha1.Model) bool { return m.Name == "dog" }) {
		w.addModel("dog")
		w.addClass("urgent", 1000)
	}
}

// happen lets one thing happen.
func (w *world) happen(step int) {
	w.fault = w.drawFate
	switch w.random.IntN(20) {
	case 0:
		if len(all[*v1alpha1.GenerationJob](w)) < 8 {
			w.addJob([]string{"", guest}[w.random.IntN(2)]+fmt.Sprint("job-", step), []string{"cat", "dog"}[w.random.IntN(2)], w.random.Int32N(3), w.drawSpec)
		}
	case 1:
		w.disturb()
	case 2:
		w.clock.SetTime(w.clock.Now().Add(time.Duration(w.random.IntN(20)) * time.Second))
	case 3:
		w.schedulePods()
		w.collectGarbage()
	case 4, 5, 6, 7, 8, 9:
		if runner, ok := pick(w, all[*v1alpha1.Runner](w)); ok {
			w.stepRunner(runner, w.drawFailure())
		}
	case 10, 11, 12, 13, 14:
		f, _ := pick(w, []*feed{w.watched, w.watched, w.standby})
		if key, ok := pick(w, f.keys()); ok {
			for range 1 + w.random.IntN(len(f.coming[key])) {
				w.arrive(f, key)
			}
		}
	default:
		if o, ok := pick(w, w.workload()); ok {
			w.work(o)
		}
	}
}

// drawFate is mostly that nothing happens.
func (w *world) drawFate(int, string) fate {
	if w.random.IntN(12) > 0 {
		return fateDone
	}
	return fate(w.random.IntN(int(fateTakeover) + 1))
}

func pick[T any](w *world, from []T) (T, bool) {
	if len(from) == 0 {
		var none T
		return none, false
	}
	return from[w.random.IntN(len(from))], true
}

// drawSpec asks for some of what a spec can ask for. Every stage is bounded, so that a runner
// that hangs is found out.
func (w *world) drawSpec(spec *v1alpha1.GenerationJobSpec) {
	seconds := func() *int64 { return new(60 + w.random.Int64N(600)) }
	spec.StageDeadlines = &v1alpha1.StageDeadlines{LoadSeconds: seconds(), GenerateSeconds: seconds(), SaveSeconds: seconds()}
	switch w.random.IntN(8) {
	case 0:
		suspend(spec)
	case 1:
		spec.StageDeadlines.QueueSeconds = new(1 + w.random.Int64N(60))
	case 2:
		spec.ActiveDeadlineSeconds = new(1 + w.random.Int64N(60))
	case 3:
		spec.TTLSecondsAfterFinished = new(w.random.Int32N(60))
	case 4:
		spec.PriorityClassName = new("urgent")
	}
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
	switch w.random.IntN(16) {
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
			w.dropJob(job)
		}
	case 3:
		if w.random.IntN(2) == 0 {
			w.startManager()
		} else {
			w.takeOver()
		}
	case 4:
		w.addMissing()
	case 5:
		w.crash()
	case 6:
		// One that hangs before it is ready is for the kubelet's probes to find.
		if runner, ok := pick(w, all[*v1alpha1.Runner](w)); ok && len(runner.Status.Conditions) > 0 {
			w.hung[runner.Spec.PodUID] = true
		}
	case 7, 8, 9, 10, 11:
		w.disturbPool()
	default:
		if job, ok := pick(w, all[*v1alpha1.GenerationJob](w)); ok {
			change, _ := pick(w, []func(*v1alpha1.GenerationJobSpec){suspend, suspend, resume, resume, cancel})
			w.changeJob(job.Name, change)
		}
	}
}

// disturbPool is what the outside does to nodes, and the owner of a pool to it.
func (w *world) disturbPool() {
	node, _ := pick(w, all[*corev1.Node](w))
	switch w.random.IntN(5) {
	case 0:
		w.failNode(node.Name)
	case 1:
		w.mendNodes()
	case 2:
		node.Spec.Unschedulable = !node.Spec.Unschedulable
		w.must(w.truth.Update(w.ctx, node))
	case 3:
		w.changePool(func(spec *v1alpha1.RunnerPoolSpec) { spec.Suspend = new(w.random.IntN(3) == 0) })
		w.allowGuests([]string{"yes", "no"}[w.random.IntN(2)])
	case 4:
		w.changePool(func(spec *v1alpha1.RunnerPoolSpec) { spec.Template = labelled(fmt.Sprint(w.random.IntN(3))) })
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
