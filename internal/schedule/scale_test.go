// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestScale(t *testing.T) {
	now := epoch.Add(time.Hour)
	idleFor := func(d time.Duration) time.Time { return now.Add(-d) }
	limits := func(low, high int) Limits { return Limits{Min: low, Max: high, IdleTimeout: time.Minute} }

	tests := map[string]struct {
		limits  Limits
		members []Member
		leaving []Leaving
		waiting int
		want    Scaling
	}{
		"nothing to do": {limits: limits(0, 1)},
		"from zero": {
			limits: limits(0, 4), waiting: 2,
			want: Scaling{Create: []int{0, 1}},
		},
		"one runner for each job, not more than the maximum": {
			limits: limits(0, 2), waiting: 5,
			want: Scaling{Create: []int{0, 1}},
		},
		"the minimum is kept": {
			limits: limits(2, 4),
			want:   Scaling{Create: []int{0, 1}},
		},
		"runners on their way count": {
			limits: limits(0, 4), waiting: 2,
			members: []Member{{Ordinal: 0, Starting: true, IdleSince: now}},
			want:    Scaling{Create: []int{1}},
		},
		"the lowest free ordinals": {
			limits: limits(0, 9), waiting: 2,
			members: []Member{{Ordinal: 1, Jobs: 1}, {Ordinal: 4, Jobs: 1}}, leaving: []Leaving{{Ordinal: 0}},
			want: Scaling{Create: []int{2, 3}},
		},
		"runners that leave count towards the maximum": {
			limits: limits(0, 2), waiting: 2,
			members: []Member{{Ordinal: 1, Jobs: 1}}, leaving: []Leaving{{Ordinal: 0}},
			want: Scaling{Postponed: 1},
		},
		"but not those on a node that failed, whose ordinals are taken all the same": {
			limits: limits(0, 2), waiting: 2,
			members: []Member{{Ordinal: 1, Jobs: 1}}, leaving: []Leaving{{Ordinal: 0, Stranded: true}},
			want: Scaling{Create: []int{2}},
		},
		"nothing is left of a pool that may have none, but what is busy": {
			waiting: 3,
			members: []Member{{Ordinal: 0, Jobs: 1}, {Ordinal: 1, IdleSince: now}, {Ordinal: 2, Starting: true, IdleSince: now}},
			want:    Scaling{Remove: []int{2, 1}},
		},
		"an idle runner stays until its time is over": {
			limits:  limits(0, 1),
			members: []Member{{Ordinal: 0, IdleSince: idleFor(20 * time.Second)}},
			want:    Scaling{Recheck: now.Add(40 * time.Second)},
		},
		"then it goes": {
			limits:  limits(0, 1),
			members: []Member{{Ordinal: 0, IdleSince: idleFor(time.Minute)}},
			want:    Scaling{Remove: []int{0}},
		},
		"down to the minimum, the longest idle first": {
			limits: limits(1, 3),
			members: []Member{
				{Ordinal: 0, IdleSince: idleFor(2 * time.Minute)},
				{Ordinal: 1, IdleSince: idleFor(4 * time.Minute)},
				{Ordinal: 2, IdleSince: idleFor(3 * time.Minute)},
			},
			want: Scaling{Remove: []int{1, 2}},
		},
		"a busy runner stays even above the maximum": {
			limits:  limits(0, 1),
			members: []Member{{Ordinal: 0, Jobs: 1}, {Ordinal: 1, Jobs: 1}, {Ordinal: 2, IdleSince: now}},
			want:    Scaling{Remove: []int{2}},
		},
		"a pod that waits for a GPU stays while jobs wait": {
			limits: limits(0, 1), waiting: 1,
			members: []Member{{Ordinal: 0, Starting: true, IdleSince: idleFor(time.Hour)}},
		},
		"even when there are more than wanted": {
			limits: limits(0, 2), waiting: 1,
			members: []Member{
				{Ordinal: 0, Starting: true, IdleSince: idleFor(time.Hour)},
				{Ordinal: 1, Starting: true, IdleSince: idleFor(time.Hour)},
			},
		},
		"but not one that retires": {
			limits: limits(0, 2), waiting: 1,
			members: []Member{{Ordinal: 0, Starting: true, Retiring: true, IdleSince: now}},
			want:    Scaling{Remove: []int{0}, Create: []int{1}},
		},
		"it goes when no job waits": {
			limits:  limits(0, 1),
			members: []Member{{Ordinal: 0, Starting: true, IdleSince: idleFor(time.Hour)}},
			want:    Scaling{Remove: []int{0}},
		},
		"a retiring runner is replaced when it is idle": {
			limits: limits(2, 3),
			members: []Member{
				{Ordinal: 0, Retiring: true, IdleSince: now},
				{Ordinal: 1, Retiring: true, Jobs: 1},
			},
			want: Scaling{Remove: []int{0}, Create: []int{2}},
		},
		"its replacement waits where the maximum leaves no room": {
			limits:  limits(1, 1),
			members: []Member{{Ordinal: 0, Retiring: true, IdleSince: now}},
			want:    Scaling{Remove: []int{0}, Postponed: 1},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Scale(tt.limits, tt.members, tt.leaving, tt.waiting, now)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("scaling (-want +got):\n%s", diff)
			}
		})
	}
}
