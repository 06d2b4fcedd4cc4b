// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// choose splits the queue into the jobs whose turn it is, one for each free runner as far
// as there are jobs, and the rest. Both keep the order of the queue.
//
// Within one priority the turn goes to the jobs that may be overtaken no longer and all
// before them, then to jobs whose model a free runner has loaded, then to the others. So
// a job is overtaken only by jobs that need no swap.
func choose(queue []Job, free []*Runner, rules Rules) (turn, rest []Job) {
	room := min(len(queue), len(free))
	loaded := map[Model]int{}
	for _, r := range free {
		loaded[r.Model]++
	}
	chosen := make([]bool, len(queue))
	take := func(from, to int, fits func(Job) bool) {
		for i := from; i < to && room > 0; i++ {
			if !chosen[i] && fits(queue[i]) {
				chosen[i] = true
				loaded[queue[i].Model]--
				room--
			}
		}
	}
	always := func(Job) bool { return true }
	for from := 0; from < len(queue); {
		to := endOfPriority(queue, from)
		take(from, from+lengthDue(queue[from:to], rules), always)
		take(from, to, func(job Job) bool { return loaded[job.Model] > 0 })
		take(from, to, always)
		from = to
	}
	turn, rest = make([]Job, 0, min(len(queue), len(free))), make([]Job, 0, len(queue))
	for i, job := range queue {
		if chosen[i] {
			turn = append(turn, job)
		} else {
			rest = append(rest, job)
		}
	}
	return turn, rest
}

// endOfPriority is where the jobs end that have the priority of the one at from.
func endOfPriority(queue []Job, from int) int {
	to := from
	for to < len(queue) && queue[to].Priority == queue[from].Priority {
		to++
	}
	return to
}

// lengthDue is how many jobs there are up to the last one that may be overtaken no longer.
func lengthDue(queue []Job, rules Rules) int {
	for n := len(queue); n > 0; n-- {
		if rules.due(queue[n-1]) {
			return n
		}
	}
	return 0
}

// due reports whether no later job may get a runner before this one.
func (r Rules) due(job Job) bool {
	if r.MaxAffinityWait <= 0 {
		return true
	}
	return !job.OvertakenSince.IsZero() && !r.Now.Before(job.OvertakenSince.Add(r.MaxAffinityWait))
}

// overtaken returns the jobs of the sorted queue that got no runner while a later one of
// the same priority did.
func overtaken(queue []Job, bindings []Binding) []types.UID {
	bound := make(map[types.UID]bool, len(bindings))
	for _, b := range bindings {
		bound[b.Job] = true
	}
	var passed []types.UID
	later := false
	for i, job := range slices.Backward(queue) {
		if i+1 < len(queue) && queue[i+1].Priority != job.Priority {
			later = false
		}
		switch {
		case bound[job.UID]:
			later = true
		case later:
			passed = append(passed, job.UID)
		}
	}
	slices.Reverse(passed)
	return passed
}
