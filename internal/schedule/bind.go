// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package schedule decides which job goes on which runner and how many runners a pool
// should have. Its functions are pure: they read no clock and know no client.
package schedule

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Model identifies what a runner has to load for a job. Equal values need no swap; the
// zero value is no model.
type Model struct {
	UID        types.UID
	Generation int64
}

// Job waits for a runner.
type Job struct {
	UID types.UID
	// Priority puts the job before all of a lower one.
	Priority     int32
	CreationTime time.Time
	Model        Model
	// OvertakenSince is when a later job of the same priority first got a runner before
	// this one did; zero where none has.
	OvertakenSince time.Time
	// DrawnBy is the runner that drew the job's pictures and could not save them, and may
	// have kept them; empty where there is none.
	DrawnBy string
}

// compareJobs is the order of the queue: by priority, the highest first, and within one
// priority first come, first served. The API keeps the second in which a job was created and
// nothing finer, so that among the jobs of a second the uid decides: by chance, but every
// time in the same way.
func compareJobs(a, b Job) int {
	if c := cmp.Compare(b.Priority, a.Priority); c != 0 {
		return c
	}
	if c := a.CreationTime.Compare(b.CreationTime); c != 0 {
		return c
	}
	return cmp.Compare(a.UID, b.UID)
}

// Runner can be given jobs.
type Runner struct {
	Name string
	// Model is what the runner will have loaded when it comes to its next job.
	Model Model
	// Prefetched is what the runner brings into its cache; the zero value is nothing.
	Prefetched Model
	// Jobs is how many it has already.
	Jobs int
}

// Binding gives a job to a runner.
type Binding struct {
	Job    types.UID
	Runner string
}

// Rules are what Bind has to keep to.
type Rules struct {
	// Slots is how many jobs a runner may have.
	Slots int
	// MaxAffinityWait is how long later jobs whose model is loaded may overtake a job,
	// from when the first one did. With zero none ever does.
	MaxAffinityWait time.Duration
	Now             time.Time
}

// Bind gives waiting jobs to runners, never more than slots to one, and leaves no runner
// without a job while one waits. Runners without a job are filled before any gets a second
// one. Among equal runners the order of the argument decides.
//
// Jobs get runners in the order of the queue, but for one thing: a job whose model a free
// runner has loaded goes before earlier ones of its priority that would need a swap. Those
// are returned as overtaken, and the caller has to remember since when they are: the rules
// bound how long it may happen to one of them. So a model is swapped once for many jobs,
// and nobody waits for ever. The jobs that go on waiting are returned in the order of the
// queue.
func Bind(jobs []Job, runners []Runner, rules Rules) (bindings []Binding, passed []types.UID, waiting []Job) {
	queue := slices.Clone(jobs)
	slices.SortFunc(queue, compareJobs)
	fleet := slices.Clone(runners)
	rest := queue
	for depth := range rules.Slots {
		free := withJobs(fleet, depth)
		var turn []Job
		turn, rest = choose(rest, free, rules)
		bindings = append(bindings, match(turn, free, rest)...)
	}
	return bindings, overtaken(queue, bindings), rest
}

// withJobs returns the runners that have exactly n jobs.
func withJobs(fleet []Runner, n int) []*Runner {
	var found []*Runner
	for i := range fleet {
		if fleet[i].Jobs == n {
			found = append(found, &fleet[i])
		}
	}
	return found
}

// match gives each of the jobs one of the free runners, of which there are enough: first
// those that have drawn the job already, as drawing takes longer than a swap, then those that
// have the job's model loaded, then those that have brought it to their caches,
// then those that have none, then those whose model no job of the rest needs, then the
// others. It records in the runners what they were given.
func match(turn []Job, free []*Runner, rest []Job) []Binding {
	needed := map[Model]bool{}
	for _, job := range rest {
		needed[job.Model] = true
	}
	chosen := make([]*Runner, len(turn))
	give := func(fits func(Job, *Runner) bool) {
		for i, job := range turn {
			if chosen[i] != nil {
				continue
			}
			at := slices.IndexFunc(free, func(r *Runner) bool { return fits(job, r) })
			if at < 0 {
				continue
			}
			chosen[i] = free[at]
			free = slices.Delete(free, at, at+1)
		}
	}
	give(func(job Job, r *Runner) bool { return r.Name == job.DrawnBy })
	give(func(job Job, r *Runner) bool { return r.Model == job.Model })
	give(func(job Job, r *Runner) bool { return r.Prefetched == job.Model })
	give(func(_ Job, r *Runner) bool { return r.Model == Model{} })
	give(func(_ Job, r *Runner) bool { return !needed[r.Model] })
	give(func(Job, *Runner) bool { return true })

	bindings := make([]Binding, len(turn))
	for i, job := range turn {
		chosen[i].Model = job.Model
		chosen[i].Jobs++
		bindings[i] = Binding{Job: job.UID, Runner: chosen[i].Name}
	}
	return bindings
}
