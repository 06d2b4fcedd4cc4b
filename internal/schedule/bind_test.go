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

func TestBind(t *testing.T) {
	tests := map[string]struct {
		jobs    []Job
		runners []Runner
		slots   int
		want    []Binding
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
			runners: []Runner{{Name: "r0", Model: cat}},
			slots:   2,
			want:    []Binding{{"late", "r0"}, {"later", "r0"}},
		},
		"a loaded model is preferred": {
			jobs:    []Job{queued("a", 1, cat)},
			runners: []Runner{{Name: "r0"}, {Name: "r1", Model: dog}, {Name: "r2", Model: cat}},
			slots:   1,
			want:    []Binding{{"a", "r2"}},
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
		"affinity costs no job its turn": {
			jobs:    []Job{queued("first", 1, dog), queued("second", 2, cat)},
			runners: []Runner{{Name: "r0", Model: cat}},
			slots:   1,
			want:    []Binding{{"first", "r0"}},
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
			if diff := cmp.Diff(tt.want, Bind(tt.jobs, tt.runners, tt.slots), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("bindings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBindKeepsItsPromises draws queues and fleets and checks what Bind promises of all of
// them.
func TestBindKeepsItsPromises(t *testing.T) {
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 0))
		jobs, runners, slots := drawQueue(random), drawFleet(random), 1+random.IntN(4)
		if err := checkBindings(jobs, runners, slots, Bind(jobs, runners, slots)); err != nil {
			t.Fatalf("seed %d: %v\njobs %v\nrunners %v\nslots %d", seed, err, jobs, runners, slots)
		}
	}
}

func drawModel(random *rand.Rand) Model {
	return []Model{{}, cat, dog, {UID: "cat", Generation: 2}}[random.IntN(4)]
}

func drawQueue(random *rand.Rand) []Job {
	jobs := make([]Job, random.IntN(20))
	for i := range jobs {
		jobs[i] = queued(types.UID(fmt.Sprint("job-", i)), random.IntN(5), drawModel(random))
		jobs[i].Priority = random.Int32N(3) - 1
	}
	random.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	return jobs
}

func drawFleet(random *rand.Rand) []Runner {
	runners := make([]Runner, random.IntN(8))
	for i := range runners {
		runners[i] = Runner{Name: fmt.Sprint("runner-", i), Model: drawModel(random), Jobs: random.IntN(4)}
	}
	return runners
}

func checkBindings(jobs []Job, runners []Runner, slots int, bindings []Binding) error {
	load, room := map[string]int{}, 0
	for _, r := range runners {
		load[r.Name] = r.Jobs
		room += max(0, slots-r.Jobs)
	}
	bound := map[types.UID]bool{}
	for _, b := range bindings {
		before, known := load[b.Runner]
		switch {
		case !known:
			return fmt.Errorf("%s was given to %s, which is no runner", b.Job, b.Runner)
		case before >= slots:
			return fmt.Errorf("%s was given to %s, which had %d jobs", b.Job, b.Runner, before)
		case bound[b.Job]:
			return fmt.Errorf("%s was given away twice", b.Job)
		}
		load[b.Runner]++
		bound[b.Job] = true
	}
	if want := min(len(jobs), room); len(bindings) != want {
		return fmt.Errorf("%d jobs were given away, want %d", len(bindings), want)
	}
	for i, job := range slices.SortedFunc(slices.Values(jobs), compareJobs) {
		if bound[job.UID] != (i < len(bindings)) {
			return fmt.Errorf("%s is number %d in the queue, and bound is %t", job.UID, i, bound[job.UID])
		}
	}
	return nil
}
