// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestGeneratingProgress(t *testing.T) {
	tests := []struct {
		done, total int
		want        int32
	}{
		{0, 20, 10},
		{1, 20, 14},
		{10, 20, 50},
		{19, 20, 86},
		{20, 20, 90},
		{21, 20, 90},
		{51, 51, 90},
		{1, 16000, 10},
		{15999, 16000, 89},
		{0, 0, 10},
	}
	for _, test := range tests {
		if got := generatingProgress(test.done, test.total); got != test.want {
			t.Errorf("%d of %d steps: progress %d, want %d", test.done, test.total, got, test.want)
		}
	}
}

func TestProgressNeverGoesDown(t *testing.T) {
	r := newReport(&v1alpha1.Assignment{UID: "a", Attempt: 1})
	last := r.Progress
	grows := func(what string) {
		t.Helper()
		if r.Progress < last {
			t.Errorf("%s: progress went from %d down to %d", what, last, r.Progress)
		}
		last = r.Progress
	}
	advance(&r, v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading)
	grows("loading")
	advance(&r, v1alpha1.PhaseGenerating, v1alpha1.ProgressGenerating)
	grows("generating")
	for _, steps := range [][2]int{{1, 4}, {2, 4}, {2, 5}, {3, 5}, {5, 5}} {
		stepped(&r, steps[0], steps[1])
		grows("a step")
	}
	advance(&r, v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading)
	grows("an earlier phase")
	fail(&r, lost())
	grows("failing")
}

func TestClip(t *testing.T) {
	if got := clip("äöü", 3); got != "äöü" {
		t.Errorf("what fits was changed to %q", got)
	}
	got := clip(strings.Repeat("ä", 5000), maxMessage)
	if n := utf8.RuneCountInString(got); n != maxMessage || !strings.HasSuffix(got, "ä…") {
		t.Errorf("clipped to %d characters ending in %q, want %d ending in an ellipsis", n, got[len(got)-5:], maxMessage)
	}
}

func TestWarn(t *testing.T) {
	r := &v1alpha1.AssignmentReport{}
	for i := range 40 {
		warn(r, []string{strings.Repeat("w", i+1), "w"})
	}
	if len(r.Warnings) != maxWarnings {
		t.Errorf("%d warnings, the API allows %d", len(r.Warnings), maxWarnings)
	}
}
