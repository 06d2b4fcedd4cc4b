// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	at := time.Unix(0, 0)
	r := newReport(&v1alpha1.Assignment{UID: "a", Attempt: 1}, at)
	last := r.Progress
	grows := func(what string) {
		t.Helper()
		if r.Progress < last {
			t.Errorf("%s: progress went from %d down to %d", what, last, r.Progress)
		}
		last = r.Progress
	}
	advance(&r, v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading, at)
	grows("loading")
	advance(&r, v1alpha1.PhaseGenerating, v1alpha1.ProgressGenerating, at)
	grows("generating")
	for _, steps := range [][2]int{{1, 4}, {2, 4}, {2, 5}, {3, 5}, {5, 5}} {
		stepped(&r, steps[0], steps[1])
		grows("a step")
	}
	advance(&r, v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading, at)
	grows("an earlier phase")
	fail(&r, lost(), at)
	grows("failing")
}

// TestStagesFollowOneAnother goes through phases, one of them twice, a second each.
func TestStagesFollowOneAnother(t *testing.T) {
	second := func(n int64) metav1.MicroTime { return metav1.NewMicroTime(time.Unix(n, 0)) }
	stage := func(phase v1alpha1.Phase, from, to int64) v1alpha1.Stage {
		return v1alpha1.Stage{Phase: phase, StartTime: second(from), EndTime: new(second(to))}
	}
	r := newReport(&v1alpha1.Assignment{UID: "a", Attempt: 1}, second(0).Time)
	advance(&r, v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading, second(1).Time)
	advance(&r, v1alpha1.PhaseGenerating, v1alpha1.ProgressGenerating, second(2).Time)
	if open := r.Stages[2]; open.EndTime != nil || !open.StartTime.Equal(new(second(2))) {
		t.Errorf("the last stage is %v", open)
	}
	advance(&r, v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading, second(3).Time)
	advance(&r, v1alpha1.PhaseGenerating, v1alpha1.ProgressGenerating, second(4).Time)
	advance(&r, v1alpha1.PhaseSaving, v1alpha1.ProgressSaving, second(5).Time)
	succeed(&r, nil, second(6).Time)
	want := []v1alpha1.Stage{
		stage(v1alpha1.PhaseInitializing, 0, 1), stage(v1alpha1.PhaseModelLoading, 3, 4),
		stage(v1alpha1.PhaseGenerating, 4, 5), stage(v1alpha1.PhaseSaving, 5, 6),
	}
	if diff := cmp.Diff(want, r.Stages); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
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
