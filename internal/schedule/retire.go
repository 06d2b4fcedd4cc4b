// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"cmp"
	"slices"
)

// Retire returns the ordinals of the outdated members to replace now: they get no more
// jobs and go when they have none. The other outdated ones go on as before, so that for a
// new template no more than the allowed number of the wanted runners is out of service.
// Waiting is the number of jobs without a runner.
//
// What can't take a job is out of service already: if it is outdated it can be replaced at
// once, and if it is not, it is what an earlier replacement waits for. So is what is leaving
// or has left and is still to be created anew. Of the others those with the fewest jobs are
// replaced first.
func Retire(limits Limits, members []Member, leaving []Leaving, waiting int) []int {
	var retiring []int
	var inService []Member
	for _, m := range members {
		switch {
		case !m.Starting && !m.Retiring:
			inService = append(inService, m)
		case m.Outdated:
			retiring = append(retiring, m.Ordinal)
		}
	}
	missing := wantedRunners(limits, members, waiting) - len(members)
	outOfService := len(members) - len(inService) + max(missing, CountLeaving(leaving), 0)
	outdated := slices.DeleteFunc(inService, func(m Member) bool { return !m.Outdated })
	slices.SortFunc(outdated, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Jobs, b.Jobs), a.IdleSince.Compare(b.IdleSince), cmp.Compare(b.Ordinal, a.Ordinal))
	})
	for _, m := range outdated[:min(len(outdated), max(0, limits.MaxUnavailable-outOfService))] {
		retiring = append(retiring, m.Ordinal)
	}
	return retiring
}
