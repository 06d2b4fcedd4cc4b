// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/types"
)

var (
	epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cat   = Model{UID: "cat", Generation: 1}
	dog   = Model{UID: "dog", Generation: 1}
)

// queued is a job that came in the given second.
func queued(uid types.UID, second int, model Model) Job {
	return Job{UID: uid, CreationTime: epoch.Add(time.Duration(second) * time.Second), Model: model}
}

// urgent gives a job a priority above that of others.
func urgent(job Job) Job {
	job.Priority = 1
	return job
}

// maxWait is how long the jobs of TestBind may be overtaken.
const maxWait = time.Minute

// overtakenFor is the job overtaken for that long already.
func overtakenFor(d time.Duration, job Job) Job {
	job.OvertakenSince = epoch.Add(-d)
	return job
}

// drawnBy is the job after that runner could not save its pictures.
func drawnBy(runner string, job Job) Job {
	job.DrawnBy = runner
	return job
}

func TestBind(t *testing.T) {
	tests := map[string]struct {
		jobs       []Job
		runners    []Runner
		slots      int
		want       []Binding
		wantPassed []types.UID
	}{
		"nothing to do": {slots: 1},
		"no runner":     {jobs: []Job{queued("a", 0, cat)}, slots: 1},
		"first come, first served": {
			jobs:    []Job{queued("late", 2, cat), queued("early", 1, cat)},
			runners: []Runner{{Name: "r0"}},
			slots:   1,
			want:    []Binding{{"early", "r0"}},
		},
		"the uid decides between equals": {
			jobs:    []Job{queued("b", 1, cat), queued("a", 1, cat)},
			runners: []Runner{{Name: "r0"}},
			slots:   1,
			want:    []Binding{{"a", "r0"}},
		},
		"a higher priority goes first": {
			jobs:    []Job{queued("early", 1, cat), urgent(queued("late", 2, dog)), urgent(queued("later", 3, cat))},
			runners: []Runner{{Name: "r0", Model: dog}},
			slots:   2,
			want:    []Binding{{"late", "r0"}, {"later", "r0"}},
		},
		"a loaded model is preferred": {
			jobs:    []Job{queued("a", 1, cat)},
			runners: []Runner{{Name: "r0"}, {Name: "r1", Model: dog}, {Name: "r2", Model: cat}},
			slots:   1,
			want:    []Binding{{"a", "r2"}},
		},
		"a job goes where its pictures may be, before any swap is spared": {
			jobs:    []Job{drawnBy("r0", queued("a", 1, cat)), queued("b", 2, dog)},
			runners: []Runner{{Name: "r0", Model: dog}, {Name: "r1", Model: cat}},
			slots:   1,
			want:    []Binding{{"a", "r0"}, {"b", "r1"}},
		},
		"but does not wait for that runner": {
			jobs:    []Job{drawnBy("r0", queued("a", 1, cat))},
			runners: []Runner{{Name: "r0", Model: cat, Jobs: 1}, {Name: "r1"}},
			slots:   1,
			want:    []Binding{{"a", "r1"}},
		},
		"another generation is another model": {
			jobs:    []Job{queued("a", 1, Model{UID: "cat", Generation: 2})},
			runners: []Runner{{Name: "r0", Model: cat}, {Name: "r1"}},
			slots:   1,
			want:    []Binding{{"a", "r1"}},
		},
		"an empty runner is preferred to a swap": {
			jobs:    []Job{queued("a", 1, cat)},
			runners: []Runner{{Name: "r0", Model: dog}, {Name: "r1"}},
			slots:   1,
			want:    []Binding{{"a", "r1"}},
		},
		"a job leaves the runner that another job has loaded": {
			jobs:    []Job{queued("first", 1, dog), queued("second", 2, cat)},
			runners: []Runner{{Name: "r0", Model: cat}, {Name: "r1", Model: cat}},
			slots:   1,
			want:    []Binding{{"first", "r1"}, {"second", "r0"}},
		},
		"a job whose model is loaded goes before one that needs a swap": {
			jobs:       []Job{queued("first", 1, dog), queued("second", 2, cat)},
			runners:    []Runner{{Name: "r0", Model: cat}},
			slots:      1,
			want:       []Binding{{"second", "r0"}},
			wantPassed: []types.UID{"first"},
		},
		"as long as the other was not overtaken for too long": {
			jobs:    []Job{overtakenFor(maxWait, queued("first", 1, dog)), queued("second", 2, cat)},
			runners: []Runner{{Name: "r0", Model: cat}},
			slots:   1,
			want:    []Binding{{"first", "r0"}},
		},
		"and that is as long as it may": {
			jobs:       []Job{overtakenFor(maxWait-1, queued("first", 1, dog)), queued("second", 2, cat)},
			runners:    []Runner{{Name: "r0", Model: cat}},
			slots:      1,
			want:       []Binding{{"second", "r0"}},
			wantPassed: []types.UID{"first"},
		},
		"what came before a job that waited too long keeps its place": {
			jobs:    []Job{queued("a", 1, dog), overtakenFor(maxWait, queued("b", 2, dog)), queued("c", 3, cat)},
			runners: []Runner{{Name: "r0", Model: cat}, {Name: "r1", Model: cat}},
			slots:   1,
			want:    []Binding{{"a", "r0"}, {"b", "r1"}},
		},
		"nobody is overtaken where a runner is left": {
			jobs:    []Job{queued("first", 1, dog), queued("second", 2, cat)},
			runners: []Runner{{Name: "r0", Model: cat}, {Name: "r1", Model: cat}, {Name: "r2"}},
			slots:   1,
			want:    []Binding{{"first", "r2"}, {"second", "r0"}},
		},
		"a loaded model helps nobody past a higher priority": {
			jobs:    []Job{queued("a", 1, cat), urgent(queued("b", 2, dog))},
			runners: []Runner{{Name: "r0", Model: cat}},
			slots:   1,
			want:    []Binding{{"b", "r0"}},
		},
		"a low priority that waited too long does not hold up a higher one": {
			jobs:       []Job{overtakenFor(maxWait, queued("low", 1, dog)), urgent(queued("first", 2, dog)), urgent(queued("second", 3, cat))},
			runners:    []Runner{{Name: "r0", Model: cat}},
			slots:      1,
			want:       []Binding{{"second", "r0"}},
			wantPassed: []types.UID{"first"},
		},
		"a swap takes a model that nobody waits for": {
			jobs:    []Job{overtakenFor(maxWait, queued("a", 1, dog)), queued("b", 2, cat), queued("c", 3, cat), queued("d", 4, cat)},
			runners: []Runner{{Name: "r0", Model: cat}, {Name: "r1", Model: Model{UID: "cow", Generation: 1}}, {Name: "r2", Model: cat}},
			slots:   1,
			want:    []Binding{{"a", "r1"}, {"b", "r0"}, {"c", "r2"}},
		},
		"idle runners come before second slots": {
			jobs:    []Job{queued("a", 1, cat), queued("b", 2, cat)},
			runners: []Runner{{Name: "r0", Model: cat, Jobs: 1}, {Name: "r1", Model: dog}},
			slots:   2,
			want:    []Binding{{"a", "r1"}, {"b", "r0"}},
		},
		"second slots follow the model that will be loaded": {
			jobs:    []Job{queued("a", 1, cat), queued("b", 2, dog), queued("c", 3, dog), queued("d", 4, cat)},
			runners: []Runner{{Name: "r0"}, {Name: "r1"}},
			slots:   2,
			want:    []Binding{{"a", "r0"}, {"b", "r1"}, {"c", "r1"}, {"d", "r0"}},
		},
		"a full runner gets nothing": {
			jobs:    []Job{queued("a", 1, cat)},
			runners: []Runner{{Name: "r0", Model: cat, Jobs: 2}},
			slots:   2,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, passed, _ := Bind(tt.jobs, tt.runners, Rules{Slots: tt.slots, MaxAffinityWait: maxWait, Now: epoch})
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("bindings (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.wantPassed, passed, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("overtaken (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWithoutAffinityNobodyIsOvertaken(t *testing.T) {
	jobs := []Job{queued("first", 1, dog), queued("second", 2, cat)}
	got, passed, _ := Bind(jobs, []Runner{{Name: "r0", Model: cat}}, Rules{Slots: 1, Now: epoch})
	if want := []Binding{{"first", "r0"}}; !slices.Equal(got, want) || len(passed) > 0 {
		t.Errorf("bindings %v, want %v; overtaken %v", got, want, passed)
	}
}

// TestBindKeepsItsPromises draws queues and fleets and checks what Bind promises of all of
// them.
func TestBindKeepsItsPromises(t *testing.T) {
	for seed := range uint64(5000) {
		random := rand.New(rand.NewPCG(seed, 0))
		rules := Rules{Slots: 1 + random.IntN(4), MaxAffinityWait: time.Duration(random.IntN(4)) * time.Second, Now: epoch}
		jobs, runners := drawQueue(random), drawFleet(random)
		if err := checkBind(jobs, runners, rules); err != nil {
			t.Fatalf("seed %d: %v\njobs %v\nrunners %v\n%+v", seed, err, jobs, runners, rules)
		}
	}
}

func drawModel(random *rand.Rand) Model {
	return []Model{cat, dog, {UID: "cat", Generation: 2}}[random.IntN(3)]
}

func drawQueue(random *rand.Rand) []Job {
	jobs := make([]Job, random.IntN(20))
	for i := range jobs {
		jobs[i] = queued(types.UID(fmt.Sprint("job-", i)), random.IntN(5), drawModel(random))
		jobs[i].Priority = random.Int32N(3) - 1
		if random.IntN(2) == 0 {
			jobs[i].OvertakenSince = epoch.Add(-time.Duration(random.IntN(5)) * time.Second)
		}
	}
	random.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	return jobs
}

func drawFleet(random *rand.Rand) []Runner {
	runners := make([]Runner, random.IntN(8))
	for i := range runners {
		runners[i] = Runner{Name: fmt.Sprint("runner-", i), Jobs: random.IntN(4)}
		if random.IntN(3) > 0 {
			runners[i].Model = drawModel(random)
		}
	}
	return runners
}

// checkBind binds and checks what came of it.
func checkBind(jobs []Job, runners []Runner, rules Rules) error {
	bindings, passed, waiting := Bind(jobs, runners, rules)
	swaps, err := checkRoom(jobs, runners, rules, bindings)
	if err != nil {
		return err
	}
	if err := checkWaiting(jobs, swaps, waiting); err != nil {
		return err
	}
	return checkOrder(jobs, rules, swaps, passed)
}

// checkWaiting checks that the jobs that go on waiting are all that were not bound, in order.
func checkWaiting(jobs []Job, bound map[types.UID]bool, waiting []Job) error {
	if len(bound)+len(waiting) != len(jobs) {
		return fmt.Errorf("of %d jobs %d were given away and %d wait", len(jobs), len(bound), len(waiting))
	}
	for _, job := range waiting {
		if _, is := bound[job.UID]; is {
			return fmt.Errorf("%s waits and was given away", job.UID)
		}
	}
	if !slices.IsSortedFunc(waiting, compareJobs) {
		return fmt.Errorf("the jobs wait in the order %v", waiting)
	}
	return nil
}

// checkRoom checks that no runner gets more than it has room for, and that none is without
// a job while one waits. It returns for each job that was bound whether it needs a swap.
func checkRoom(jobs []Job, runners []Runner, rules Rules, bindings []Binding) (map[types.UID]bool, error) {
	fleet, room := map[string]*Runner{}, 0
	for _, r := range runners {
		fleet[r.Name] = &r
		room += max(0, rules.Slots-r.Jobs)
	}
	swaps := map[types.UID]bool{}
	for _, b := range bindings {
		runner := fleet[b.Runner]
		_, twice := swaps[b.Job]
		at := slices.IndexFunc(jobs, func(job Job) bool { return job.UID == b.Job })
		switch {
		case runner == nil:
			return nil, fmt.Errorf("%s was given to %s, which is no runner", b.Job, b.Runner)
		case at < 0:
			return nil, fmt.Errorf("%s was given away, which is no job", b.Job)
		case runner.Jobs >= rules.Slots:
			return nil, fmt.Errorf("%s was given to %s, which had %d jobs", b.Job, b.Runner, runner.Jobs)
		case twice:
			return nil, fmt.Errorf("%s was given away twice", b.Job)
		}
		swaps[b.Job] = runner.Model != jobs[at].Model
		runner.Jobs++
		runner.Model = jobs[at].Model
	}
	if want := min(len(jobs), room); len(bindings) != want {
		return nil, fmt.Errorf("%d jobs were given away, want %d", len(bindings), want)
	}
	return swaps, nil
}

// checkOrder checks for each pair of jobs that the later one went first only where it may.
func checkOrder(jobs []Job, rules Rules, swaps map[types.UID]bool, passed []types.UID) error {
	for _, first := range jobs {
		overtaken := false
		for _, second := range jobs {
			_, firstBound := swaps[first.UID]
			swap, secondBound := swaps[second.UID]
			if firstBound || !secondBound || compareJobs(first, second) > 0 {
				continue
			}
			overtaken = overtaken || first.Priority == second.Priority
			switch {
			case first.Priority != second.Priority:
				return fmt.Errorf("%s went before %s, which has a higher priority", second.UID, first.UID)
			case first.Model == second.Model:
				return fmt.Errorf("%s went before %s, which came earlier and needs the same model", second.UID, first.UID)
			case swap:
				return fmt.Errorf("%s went before %s, which came earlier, although it needs a swap too", second.UID, first.UID)
			case rules.due(first):
				return fmt.Errorf("%s went before %s, which was overtaken for too long", second.UID, first.UID)
			}
		}
		if said := slices.Contains(passed, first.UID); said != overtaken {
			return fmt.Errorf("%s was overtaken: %t, but Bind says %t", first.UID, overtaken, said)
		}
	}
	return nil
}

// BenchmarkBind gives a few of many waiting jobs away, as happens each time a runner is free.
func BenchmarkBind(b *testing.B) {
	random := rand.New(rand.NewPCG(0, 0))
	jobs := make([]Job, 15_000)
	for i := range jobs {
		jobs[i] = queued(types.UID(fmt.Sprint("job-", i)), i, drawModel(random))
	}
	runners := make([]Runner, 100)
	for i := range runners {
		runners[i] = Runner{Name: fmt.Sprint("runner-", i), Model: drawModel(random), Jobs: min(1, i)}
	}
	rules := Rules{Slots: 1, MaxAffinityWait: time.Minute, Now: epoch.Add(time.Hour)}
	for b.Loop() {
		if bindings, _, _ := Bind(jobs, runners, rules); len(bindings) != 1 {
			b.Fatal(bindings)
		}
	}
}
