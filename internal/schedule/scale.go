// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"cmp"
	"slices"
	"time"
)

// Limits bound a pool.
type Limits struct {
	// Min runners are kept even when no job waits.
	Min int
	// Max is never exceeded, runners that are being removed included.
	Max int
	// IdleTimeout is how long a runner above what is wanted may have no job.
	IdleTimeout time.Duration
	// MaxUnavailable is how many of the wanted runners may be out of service for a new
	// template.
	MaxUnavailable int
}

// Member is one runner of a pool that is not being removed.
type Member struct {
	// Ordinal is the number in its name.
	Ordinal int
	// Jobs is how many it has, those included whose end it has not confirmed.
	Jobs int
	// Starting means that it can't take a job yet; its pod may still wait for a GPU.
	Starting bool
	// Outdated means that it was made from an older template.
	Outdated bool
	// Retiring means that it gets no more jobs and goes when it has none.
	Retiring bool
	// IdleSince is when it last had a job, or was made.
	IdleSince time.Time
}

// Leaving is one runner of a pool that is being removed.
type Leaving struct {
	Ordinal int
	// Stranded means that it should have ended long ago. Its node has probably failed, and
	// what it ran on is of no use to anyone until that is mended.
	Stranded bool
}

// Scaling is what to do with the members of a pool.
type Scaling struct {
	// Create holds the ordinals of the runners to create.
	Create []int
	// Postponed is how many more are to be created when runners that are leaving make room.
	Postponed int
	// Remove holds the ordinals of the runners to remove. None of them has a job.
	Remove []int
	// Recheck is when time alone may change the answer; zero where it can't.
	Recheck time.Time
}

// Scale decides which runners a pool starts and removes. It wants one runner for each job,
// within the limits. Waiting is the number of jobs without a runner. The ordinals of runners
// that are leaving can't be used yet, and they count towards the maximum unless they are
// stranded.
//
// A runner with a job is never removed. Idle runners go when they are retiring, above the
// maximum, or unwanted for longer than the idle timeout; the last holds for a runner that
// is starting only when no job waits, as its pod may be next in line for a GPU.
func Scale(limits Limits, members []Member, leaving []Leaving, waiting int, now time.Time) Scaling {
	wanted := wantedRunners(limits, members, waiting)
	var scaling Scaling
	keep := len(members)
	for _, m := range idleLongestFirst(members) {
		expiry := m.IdleSince.Add(limits.IdleTimeout)
		unwanted := keep > wanted && (!m.Starting || waiting == 0)
		switch {
		case m.Retiring, keep > limits.Max, unwanted && !now.Before(expiry):
			scaling.Remove = append(scaling.Remove, m.Ordinal)
			keep--
		case unwanted && (scaling.Recheck.IsZero() || expiry.Before(scaling.Recheck)):
			scaling.Recheck = expiry
		}
	}
	room := limits.Max - len(members) - CountLeaving(leaving)
	scaling.Create = freeOrdinals(min(wanted-keep, room), members, leaving)
	scaling.Postponed = max(0, wanted-keep-len(scaling.Create))
	return scaling
}

// CountLeaving is how many runners are leaving and not stranded.
func CountLeaving(leaving []Leaving) int {
	n := 0
	for _, l := range leaving {
		if !l.Stranded {
			n++
		}
	}
	return n
}

// wantedRunners is one for each job, within the limits.
func wantedRunners(limits Limits, members []Member, waiting int) int {
	jobs := waiting
	for _, m := range members {
		jobs += m.Jobs
	}
	return min(max(jobs, limits.Min), limits.Max)
}

// idleLongestFirst returns the members without a job in the order in which to remove them.
func idleLongestFirst(members []Member) []Member {
	idle := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.Jobs > 0 })
	slices.SortFunc(idle, func(a, b Member) int {
		return cmp.Or(a.IdleSince.Compare(b.IdleSince), cmp.Compare(b.Ordinal, a.Ordinal))
	})
	return idle
}

// freeOrdinals returns the n lowest ordinals that no runner has.
func freeOrdinals(n int, members []Member, leaving []Leaving) []int {
	taken := make(map[int]bool, len(members)+len(leaving))
	for _, m := range members {
		taken[m.Ordinal] = true
	}
	for _, l := range leaving {
		taken[l.Ordinal] = true
	}
	var free []int
	for ordinal := 0; len(free) < n; ordinal++ {
		if !taken[ordinal] {
			free = append(free, ordinal)
		}
	}
	return free
}
