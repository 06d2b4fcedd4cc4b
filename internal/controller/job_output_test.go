// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"testing"

	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// TestOutputPaths fills in the placeholders for a job with two pictures and the seed 42.
func TestOutputPaths(t *testing.T) {
	for template, want := range map[string][]string{
		"album/{index}":              {"studio/album/0", "studio/album/1"},
		"{seed}":                     {"studio/42", "studio/43"},
		"{name}/{uid}/{index}":       {"studio/apple/0123456789/0", "studio/apple/0123456789/1"},
		"{namespace}-{name}_{index}": {"studio/studio-apple_0", "studio/studio-apple_1"},
		"{index}{index}.{seed}":      {"studio/00.42", "studio/11.43"},
		"été/{seed}, the apple":      {"studio/été/42, the apple", "studio/été/43, the apple"},
		"{ns}/{index}":               {"studio/{ns}/0", "studio/{ns}/1"}, // The API server lets no such path through.
	} {
		job := newJob()
		job.Status.Seed = new(int64(42))
		job.Spec.Images = ptr.To[int32](2)
		job.Spec.Output = &v1alpha1.OutputSpec{Path: &template}
		for _, attempt := range []int32{1, 2} {
			got := newAssignment(job, &v1alpha1.Model{}, poolWith(""), attempt).OutputPaths
			if !slices.Equal(got, want) {
				t.Errorf("%s: attempt %d writes %q, want %q", template, attempt, got, want)
			}
		}
	}
}

// TestWhatIsFilledInIsNotFilledInAgain even where a name looked like a placeholder.
func TestWhatIsFilledInIsNotFilledInAgain(t *testing.T) {
	job := newJob()
	job.Name, job.Status.Seed = "{uid}", new(int64(42))
	if got := expandPath("{name}", job, 0); got != "{uid}" {
		t.Errorf("got %q", got)
	}
}

// TestPathsOfPicturesDiffer in each job that the API server lets through: there {index} or
// {seed} is in the path.
func TestPathsOfPicturesDiffer(t *testing.T) {
	for _, template := range []string{"{index}", "{seed}", "{index}{seed}", "{seed}{index}", "{index}{index}", "1{index}1"} {
		for _, seed := range []int64{0, 1, 9, 95, 9007199254740976} {
			job := newJob()
			job.Status.Seed, job.Spec.Images = &seed, ptr.To[int32](16)
			job.Spec.Output = &v1alpha1.OutputSpec{Path: &template}
			paths := outputPaths(job)
			if slices.Sort(paths); len(slices.Compact(paths)) != 16 {
				t.Errorf("%s with seed %d: %q", template, seed, paths)
			}
		}
	}
}
