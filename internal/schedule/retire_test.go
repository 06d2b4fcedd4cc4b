// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRetire(t *testing.T) {
	old := func(ordinal, jobs int) Member { return Member{Ordinal: ordinal, Jobs: jobs, Outdated: true} }
	tests := map[string]struct {
		members        []Member
		wanted         int
		leaving        []Leaving
		maxUnavailable int
		want           []int
	}{
		"nobody of the present template": {
			members: []Member{{Ordinal: 0}, {Ordinal: 1, Jobs: 1}, {Ordinal: 2, Starting: true}}, maxUnavailable: 9,
		},
		"one at a time": {
			members: []Member{old(0, 0), old(1, 0)}, maxUnavailable: 1,
			want: []int{1},
		},
		"as many as may be unavailable": {
			members: []Member{old(0, 0), old(1, 0), old(2, 0)}, maxUnavailable: 2,
			want: []int{2, 1},
		},
		"those that are idle first": {
			members: []Member{old(0, 0), old(1, 1)}, maxUnavailable: 1,
			want: []int{0},
		},
		"then those with the fewest jobs": {
			members: []Member{old(0, 2), old(1, 1)}, maxUnavailable: 1,
			want: []int{1},
		},
		"the longest idle first": {
			members:        []Member{{Ordinal: 0, Outdated: true, IdleSince: epoch}, {Ordinal: 1, Outdated: true, IdleSince: epoch.Add(time.Second)}},
			maxUnavailable: 1,
			want:           []int{0},
		},
		"none while a replacement starts": {
			members: []Member{old(0, 0), {Ordinal: 1, Starting: true}}, maxUnavailable: 1,
		},
		"none while another leaves": {
			members: []Member{old(0, 0)}, leaving: []Leaving{{Ordinal: 1}}, maxUnavailable: 1,
		},
		"none while another has left and is to be created anew": {
			members: []Member{old(0, 0)}, wanted: 2, maxUnavailable: 1,
		},
		"what is leaving and to be created anew counts once": {
			members: []Member{old(0, 0)}, leaving: []Leaving{{Ordinal: 1}}, wanted: 2, maxUnavailable: 2,
			want: []int{0},
		},
		"a runner on a node that failed is not waited for": {
			members: []Member{old(0, 0)}, leaving: []Leaving{{Ordinal: 1, Stranded: true}}, maxUnavailable: 1,
			want: []int{0},
		},
		"none while another goes for its node": {
			members: []Member{old(0, 0), {Ordinal: 1, Retiring: true}}, maxUnavailable: 1,
		},
		"what can't take a job anyway, however many": {
			members:        []Member{{Ordinal: 0, Outdated: true, Starting: true}, {Ordinal: 1, Outdated: true, Starting: true}, old(2, 0)},
			maxUnavailable: 1,
			want:           []int{0, 1},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Retire(Limits{Min: tt.wanted, Max: max(tt.wanted, len(tt.members)), MaxUnavailable: tt.maxUnavailable}, tt.members, tt.leaving, 0)); diff != "" {
				t.Errorf("retiring (-want +got):\n%s", diff)
			}
		})
	}
}
