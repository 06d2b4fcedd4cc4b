// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"slices"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// Bounds of the API's strings and lists, in characters and items. A status beyond them
// would be refused for ever.
const (
	maxMessage       = 4096
	maxDeviceMessage = 1024
	maxVersion       = 128
	maxWarnings      = 32
)

// key names one attempt at one job. All reports and all work go by it.
type key struct {
	uid     types.UID
	attempt int32
}

func keyOf(a *v1alpha1.Assignment) key             { return key{uid: a.UID, attempt: a.Attempt} }
func keyOfReport(r *v1alpha1.AssignmentReport) key { return key{uid: r.UID, attempt: r.Attempt} }

// newReport is the first thing said of an assignment that is taken.
func newReport(a *v1alpha1.Assignment, at time.Time) v1alpha1.AssignmentReport {
	r := v1alpha1.AssignmentReport{UID: a.UID, Attempt: a.Attempt}
	advance(&r, v1alpha1.PhaseInitializing, v1alpha1.ProgressInitializing, at)
	return r
}

// findReport gives the report on an attempt, or nil.
func findReport(status *v1alpha1.RunnerStatus, k key) *v1alpha1.AssignmentReport {
	i := slices.IndexFunc(status.Assignments, func(r v1alpha1.AssignmentReport) bool { return keyOfReport(&r) == k })
	if i < 0 {
		return nil
	}
	return &status.Assignments[i]
}

// dropReport takes the report on an attempt away.
func dropReport(status *v1alpha1.RunnerStatus, k key) {
	status.Assignments = slices.DeleteFunc(status.Assignments, func(r v1alpha1.AssignmentReport) bool { return keyOfReport(&r) == k })
}

// ended reports whether a report says its last.
func ended(r *v1alpha1.AssignmentReport) bool {
	return r.Phase == v1alpha1.PhaseSucceeded || r.Phase == v1alpha1.PhaseFailed
}

// advance moves a report on to a phase. Progress never goes down. A phase that comes again,
// as loading does where the pipeline has to be mended, has the times of the last time.
func advance(r *v1alpha1.AssignmentReport, phase v1alpha1.Phase, progress int32, at time.Time) {
	r.Phase = phase
	r.Progress = max(r.Progress, progress)
	if again := slices.IndexFunc(r.Stages, func(s v1alpha1.Stage) bool { return s.Phase == phase }); again >= 0 {
		r.Stages = r.Stages[:again]
	}
	closeStage(r, at)
	if !ended(r) {
		r.Stages = append(r.Stages, v1alpha1.Stage{Phase: phase, StartTime: metav1.NewMicroTime(at)})
	}
}

// closeStage ends the stage that lasts, if there is one.
func closeStage(r *v1alpha1.AssignmentReport, at time.Time) {
	if n := len(r.Stages); n > 0 && r.Stages[n-1].EndTime == nil {
		r.Stages[n-1].EndTime = new(metav1.NewMicroTime(at))
	}
}

// stepped records that done of total denoising steps are done.
func stepped(r *v1alpha1.AssignmentReport, done, total int) {
	r.Step, r.Steps = int32(done), int32(total)
	r.Progress = max(r.Progress, generatingProgress(done, total))
}

// generatingProgress maps steps linearly onto the share of the progress that Generating has.
func generatingProgress(done, total int) int32 {
	if total <= 0 {
		return v1alpha1.ProgressGenerating
	}
	span := int64(v1alpha1.ProgressGenerated - v1alpha1.ProgressGenerating)
	return v1alpha1.ProgressGenerating + int32(span*int64(min(done, total))/int64(total))
}

// succeed ends a report with its outputs.
func succeed(r *v1alpha1.AssignmentReport, outputs []v1alpha1.Output, at time.Time) {
	advance(r, v1alpha1.PhaseSucceeded, v1alpha1.ProgressSucceeded, at)
	r.Outputs = outputs
}

// fail ends a report with an error.
func fail(r *v1alpha1.AssignmentReport, f *failure, at time.Time) {
	advance(r, v1alpha1.PhaseFailed, r.Progress, at)
	r.Error = &v1alpha1.AssignmentError{
		Reason:    f.reason,
		Message:   clip(f.message, maxMessage),
		Retryable: f.retryable,
	}
}

// warn adds warnings that a report does not have yet.
func warn(r *v1alpha1.AssignmentReport, warnings []string) {
	for _, warning := range warnings {
		if len(r.Warnings) < maxWarnings && !slices.Contains(r.Warnings, warning) {
			r.Warnings = append(r.Warnings, warning)
		}
	}
}

// clip shortens a string to at most limit characters, as the schema counts them.
func clip(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}
