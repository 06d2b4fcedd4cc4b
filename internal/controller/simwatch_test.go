// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// feed is what the watches of one manager have brought. The events of one object arrive in
// their order, those of different objects in any.
type feed struct {
	cache simStore
	// coming are the events of each object that have not arrived.
	coming map[simKey][]simEvent
	// latest is the number of the latest event that has arrived.
	latest int
}

// simEvent is one watch event.
type simEvent struct {
	// object as it was after it; nil where it was deleted.
	object client.Object
	number int
	// happened and due are the turns in which it happened, and may arrive.
	happened, due int
}

func newFeed() *feed { return &feed{cache: simStore{}, coming: map[simKey][]simEvent{}} }

// keys returns the objects of which events are on their way, in a fixed order.
func (f *feed) keys() []simKey { return slices.SortedFunc(maps.Keys(f.coming), compareKeys) }

// due returns the objects of which events may arrive in a turn.
func (f *feed) due(turn int) []simKey {
	return slices.DeleteFunc(f.keys(), func(key simKey) bool { return f.coming[key][0].due > turn })
}

func (f *feed) put(key simKey, o client.Object) {
	if o == nil {
		delete(f.cache, key)
	} else {
		f.cache[key] = o // Stored objects never change, so that stores may share them.
	}
}

// lateness is how long watch events are on their way.
type lateness struct {
	turn int
	// most turns that events of a kind take.
	most map[string]int

	// events is how many there were, late how many of them came to the manager in a later
	// turn, and overtaken after another that had happened later.
	events, late, overtaken int
}

// restTurns is after how many turns without a write nothing more is to come: each event has
// arrived, and what it asks for was done.
const restTurns = 5

// newLateWorld is a world in which each event is on its way for a while of its own, to the
// manager and to the one that stands by: for up to some turns, that is ten times as many
// seconds, which for each kind the seed says. In every second one the manager works on
// nothing but what its watches ask for.
func newLateWorld(seed uint64) *world {
	w := newWorld(seed)
	w.lateness = &lateness{most: map[string]int{}}
	for _, kind := range []string{"GenerationJob", "Model", "Namespace", "Node", "Pod", "PriorityClass", "Role", "RoleBinding", "Runner", "RunnerPool", "ServiceAccount"} {
		w.lateness.most[kind] = w.random.IntN(4)
	}
	if seed%2 == 1 {
		w.news = inbox{}
	}
	if seed%4 >= 2 {
		w.poolSpec = func(spec *v1alpha1.RunnerPoolSpec) { spec.MinRunners, spec.MaxRunners = new(int32(4)), new(int32(4)) }
	}
	return w
}

// announce sends an event on its way.
func (w *world) announce(key simKey, o client.Object) {
	for _, f := range []*feed{w.watched, w.standby} {
		e := simEvent{object: o, number: w.truth.version}
		if l := w.lateness; l != nil {
			e.happened, e.due = l.turn, l.turn+w.random.IntN(l.most[key.kind.Kind]+1)
		}
		f.coming[key] = append(f.coming[key], e)
	}
	if w.lateness != nil {
		w.lateness.events++
	}
}

// arrive brings the next event of an object.
func (w *world) arrive(f *feed, key simKey) {
	e, old := f.coming[key][0], f.cache[key]
	if f.coming[key] = f.coming[key][1:]; len(f.coming[key]) == 0 {
		delete(f.coming, key)
	}
	f.put(key, e.object)
	if f != w.watched {
		return
	}
	if l := w.lateness; l != nil && e.happened < l.turn {
		l.late++
	}
	if w.lateness != nil && e.number < f.latest {
		w.lateness.overtaken++
	}
	f.latest = max(f.latest, e.number)
	if w.news != nil {
		w.deliver(old, e.object)
	}
}

// catchUp brings the manager all events of one object at once.
func (w *world) catchUp(key simKey) {
	old, young := w.watched.cache[key], w.truth.objects[key]
	delete(w.watched.coming, key)
	w.watched.put(key, young)
	if w.news != nil {
		w.deliver(old, young)
	}
}

// standBy starts a manager that only watches.
func (w *world) standBy() {
	w.standby = newFeed()
	w.standby.cache = maps.Clone(w.truth.objects)
}

// takeOver replaces the manager by the one that stands by, which knows what its own watches
// have brought, and has everything there to look at.
func (w *world) takeOver() {
	w.watched = w.standby
	w.standBy()
	clear(w.news)
	if w.news != nil {
		for _, key := range w.watched.cache.keys() {
			w.deliver(nil, w.watched.cache[key])
		}
	}
	w.startReconcilers()
}

// lateTurn lets everyone take one turn, in an order that the random numbers say. Before each
// some of the events arrive that are due.
func (w *world) lateTurn() {
	w.lateness.turn++
	var todo []func()
	for _, runner := range stored[*v1alpha1.Runner](w) {
		todo = append(todo, func() { w.stepRunnerOf(runner.UID) })
	}
	if w.news == nil {
		for _, o := range w.workload() {
			todo = append(todo, func() { w.work(o) })
		}
	} else {
		for range w.news {
			todo = append(todo, w.workOnAnyNews)
		}
	}
	w.random.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
	for _, do := range todo {
		w.arriveSome()
		do()
	}
	w.arriveSome()
}

func (w *world) stepRunnerOf(uid types.UID) {
	for _, runner := range all[*v1alpha1.Runner](w) {
		if runner.UID == uid {
			w.stepRunner(runner, nil)
		}
	}
}

// arriveSome brings about half of the events that are due.
func (w *world) arriveSome() {
	for _, f := range []*feed{w.watched, w.standby} {
		due := f.due(w.lateness.turn)
		w.random.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
		for _, key := range due[:(len(due)+1)/2] {
			w.arrive(f, key)
		}
	}
}

// workOnAnyNews reconciles something that is due.
func (w *world) workOnAnyNews() {
	if next, ok := pick(w, w.dueNews()); ok {
		w.workOn(next)
	}
}

// tally is what a test has covered.
type tally struct{ histories, writes, events, late, overtaken int }

func (t *tally) add(w *world) {
	t.histories++
	t.writes += w.writes
	t.events += w.lateness.events
	t.late += w.lateness.late
	t.overtaken += w.lateness.overtaken
}

func (t *tally) String() string {
	return fmt.Sprintf("%d histories, %d writes of the manager, %d watch events, %d late, %d overtaken", t.histories, t.writes, t.events, t.late, t.overtaken)
}

// TestWhoTakesOverKnowsWhatWasWritten has the leader do something and die at that write. Who
// stands by has news of all objects but one when it takes over, and gets those later.
func TestWhoTakesOverKnowsWhatWasWritten(t *testing.T) {
	for name, lacks := range map[string]func(client.Object) bool{
		"a binding":      func(o client.Object) bool { return o.GetName() == "default-0" && isA[*v1alpha1.Runner](o) },
		"a runner's pod": func(o client.Object) bool { return o.GetName() == "default-0" && isA[*corev1.Pod](o) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(0)
			w.addModel("cat")
			w.addPool(2, 1)
			w.changePool(func(spec *v1alpha1.RunnerPoolSpec) { spec.MinRunners = spec.MaxRunners })
			if err := w.settle(); err != nil {
				t.Fatal(err)
			}
			w.addJob("apple", "cat", 1)
			job := all[*v1alpha1.GenerationJob](w)[0]
			w.catchUp(keyOf(job))
			w.work(job)
			w.fault = func(_ int, what string) fate {
				if what != "patch Runner default-0" {
					return fateDone
				}
				for _, key := range w.standby.keys() {
					for len(w.standby.coming[key]) > 0 && !lacks(w.standby.coming[key][0].object) {
						w.arrive(w.standby, key)
					}
				}
				return fateTakeover
			}
			w.work(w.thePool())
			w.fault = func(int, string) fate { return fateDone }
			w.work(w.thePool())
			if bound := boundRunners(w); !slices.Equal(bound, []string{"default-0"}) || w.broken != nil {
				t.Errorf("the job is with %v, %v", bound, w.broken)
			}
			if err := w.settle(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(map[string]string{"apple": "Complete Succeeded 0"}, w.ends()); diff != "" {
				t.Errorf("ends (-want +got):\n%s", diff)
			}
		})
	}
}

func isA[T client.Object](o client.Object) bool {
	_, is := o.(T)
	return is
}

// boundRunners are the runners that have assignments.
func boundRunners(w *world) []string {
	var names []string
	for _, runner := range stored[*v1alpha1.Runner](w) {
		if len(runner.Spec.Assignments) > 0 {
			names = append(names, runner.Name)
		}
	}
	return names
}

// TestLateWatches plays the acts while watch events are late and overtake each other, first
// undisturbed, and then each time with another write that meets a fate: of every second one,
// the others with another seed. A manager that has old news of some objects and young ones of
// others assigns no job twice, makes no runner too many, and ends each job as it should.
func TestLateWatches(t *testing.T) {
	seeds := uint64(4)
	if testing.Short() {
		seeds = 1
	}
	for name, act := range acts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			covered := &tally{}
			for seed := range seeds {
				undisturbed := newLateWorld(seed)
				if err := play(undisturbed, act.begin); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				ends := undisturbed.ends()
				if ends["slow"] == "Complete Succeeded 0" {
					ends["slow"] = act.ends["slow"] // Done before the manager could hear that it had begun.
				}
				if diff := cmp.Diff(act.ends, ends); diff != "" {
					t.Errorf("seed %d: ends (-want +got):\n%s", seed, diff)
				}
				covered.add(undisturbed)
				fates := []fate{fateLost, fateUnheard, fateConflict, fateDeath, fateTakeover}
				for n := 1 + int(seed%2); n <= undisturbed.writes; n += 2 {
					f, w := fates[(n+int(seed))/2%len(fates)], newLateWorld(seed)
					if met, err := disturbed(w, act.begin, n, f); err != nil {
						t.Errorf("seed %d, write %d (%s), %v: %v", seed, n, met, f, err)
					}
					covered.add(w)
				}
			}
			t.Log(covered)
		})
	}
}
