// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package schedule decides which job goes on which runner and how many runners a pool
// should have. Its functions are pure: they read no clock and know no client.
package schedule

import (
	"cmp"
	"slices"
	"strings"
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
}

// compareJobs is the order of the queue: by priority, the highest first, and within one
// priority first come, first served. The API keeps the second in which a job was created and
// nothing finer, so that among the jobs of a second the uid decides: by chance, but every
// time in the same way.
func compareJobs(a, b Job) int {
	return cmp.Or(
		cmp.Compare(b.Priority, a.Priority),
		a.CreationTime.Compare(b.CreationTime),
		strings.Compare(string(a.UID), string(b.UID)),
	)
}

// Runner can be given jobs.
type Runner struct {
	Name string
	// Model is what the runner will have loaded when it comes to its next job.
	Model Model
	// Jobs is how many it has already.
	Jobs int
}

// Binding gives a job to a runner.
type Binding struct {
	Job    types.UID
	Runner string
}

// Bind gives waiting jobs to runners, never more than slots to one. The jobs that get a
// runner are always the first in the queue: that a runner has some model loaded moves no
// job ahead of another, it only decides which of the jobs whose turn it is gets which
// runner. Runners without a job are filled before any gets a second one. Among equal
// runners the order of the argument decides.
func Bind(jobs []Job, runners []Runner, slots int) []Binding {
	queue := slices.SortedFunc(slices.Values(jobs), compareJobs)
	fleet := slices.Clone(runners)
	bindings := make([]Binding, 0, len(queue))
	for depth := range slots {
		free := withJobs(fleet, depth)
		turn := queue[:min(len(queue), len(free))]
		queue = queue[len(turn):]
		bindings = append(bindings, match(turn, free)...)
	}
	return bindings
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
// those that have the job's model loaded, then those that have none, then the others. It
// records in the runners what they were given.
func match(turn []Job, free []*Runner) []Binding {
	chosen := make([]*Runner, len(turn))
	choose := func(fits func(Job, *Runner) bool) {
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
	choose(func(job Job, r *Runner) bool { return r.Model == job.Model })
	choose(func(_ Job, r *Runner) bool { return r.Model == Model{} })
	choose(func(Job, *Runner) bool { return true })

	bindings := make([]Binding, len(turn))
	for i, job := range turn {
		chosen[i].Model = job.Model
		chosen[i].Jobs++
		bindings[i] = Binding{Job: job.UID, Runner: chosen[i].Name}
	}
	return bindings
}
