// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// stageTexts says of each stage from when to when it lasted, in seconds from testNow.
func stageTexts(stages []v1alpha1.Stage) []string {
	texts := []string{}
	for _, s := range stages {
		end := ""
		if s.EndTime != nil {
			end = fmt.Sprint(s.EndTime.Sub(testNow).Seconds())
		}
		texts = append(texts, fmt.Sprintf("%s %v..%s", s.Phase, s.StartTime.Sub(testNow).Seconds(), end))
	}
	return texts
}

// reportedStages are stages that follow one another, the first from the first time.
func reportedStages(ended bool, times ...int) []v1alpha1.Stage {
	at := func(i int) metav1.MicroTime {
		return metav1.NewMicroTime(testNow.Add(time.Duration(times[i]) * time.Second))
	}
	var stages []v1alpha1.Stage
	for i, phase := range runnerPhases {
		if i == len(times) || ended && i == len(times)-1 {
			break
		}
		stage := v1alpha1.Stage{Phase: phase, StartTime: at(i)}
		if i+1 < len(times) {
			stage.EndTime = new(at(i + 1))
		}
		stages = append(stages, stage)
	}
	return stages
}

func TestStages(t *testing.T) {
	created := metav1.NewTime(testNow.Add(-9 * time.Second))
	report := func(phase v1alpha1.Phase, progress int32, stages []v1alpha1.Stage) *v1alpha1.AssignmentReport {
		return &v1alpha1.AssignmentReport{Phase: phase, Progress: progress, Stages: stages}
	}
	tests := map[string]struct {
		report *v1alpha1.AssignmentReport
		want   []string
	}{
		"waiting, from the creation": {nil, []string{"Pending -9.."}},
		"taken":                      {report("Initializing", 1, reportedStages(false, -3)), []string{"Pending -9..-3", "Initializing -3.."}},
		"drawing": {report("Generating", 10, reportedStages(false, -3, -2, -1)),
			[]string{"Pending -9..-3", "Initializing -3..-2", "ModelLoading -2..-1", "Generating -1.."}},
		"done": {report("Succeeded", 100, reportedStages(true, -8, -8, -8, -4, -1)),
			[]string{"Pending -9..-8", "Initializing -8..-8", "ModelLoading -8..-8", "Generating -8..-4", "Saving -4..-1"}},
		"a clock that is ahead":          {report("ModelLoading", 5, reportedStages(false, 10, 20)), []string{"Pending -9..0", "Initializing 0..0", "ModelLoading 0.."}},
		"a clock that is behind":         {report("ModelLoading", 5, reportedStages(false, -90, -80)), []string{"Pending -9..-9", "Initializing -9..-9", "ModelLoading -9.."}},
		"a clock that runs back":         {report("ModelLoading", 5, reportedStages(false, -3, -5)), []string{"Pending -9..-3", "Initializing -3..-3", "ModelLoading -3.."}},
		"a runner of an earlier release": {report("Generating", 10, nil), []string{"Pending -9..0", "Generating 0.."}},
		"a stage that no runner has": {report("Generating", 10, []v1alpha1.Stage{{Phase: "Pending", StartTime: ago(0)}, {Phase: "Generating", StartTime: ago(time.Second)}}),
			[]string{"Pending -9..-1", "Generating -1.."}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			view := viewOf(newJob())
			view.job.CreationTimestamp = created
			view.job.Status = decideJob(view)
			if tt.report != nil {
				view.holdings = []holding{held(1, tt.report)}
				view.job.Status = decideJob(view)
			}
			if diff := cmp.Diff(tt.want, stageTexts(view.job.Status.Stages)); diff != "" {
				t.Fatalf("stages (-want +got):\n%s", diff)
			}
			view.now = view.now.Add(time.Second)
			if diff := cmp.Diff(tt.want, stageTexts(decideJob(view).Stages)); diff != "" {
				t.Errorf("the same report gives other stages a second later (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAnAttemptHasItsOwnStages follows a job through a failure and a suspension to its end.
func TestAnAttemptHasItsOwnStages(t *testing.T) {
	view := viewOf(newJob())
	view.job.CreationTimestamp = metav1.NewTime(testNow)
	expect := func(want ...string) {
		t.Helper()
		view.job.Status = decideJob(view)
		if diff := cmp.Diff(want, stageTexts(view.job.Status.Stages)); diff != "" {
			t.Errorf("stages (-want +got):\n%s", diff)
		}
		view.now = view.now.Add(time.Second)
	}
	expect("Pending 0..")
	view.holdings = []holding{held(1, &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseInitializing, Progress: 1, Stages: reportedStages(false, 1)})}
	expect("Pending 0..1", "Initializing 1..")
	view.holdings = []holding{held(1, failureReport(v1alpha1.ReasonGenerationFailed, true))}
	expect("Pending 2..")
	view.holdings = nil
	expect("Pending 2..")
	suspend(&view.job.Spec)
	expect("Suspended 4..")
	resume(&view.job.Spec)
	expect("Pending 5..")
	view.holdings = []holding{held(2, &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseGenerating, Progress: 10, Stages: reportedStages(false, 6, 6, 6)})}
	expect("Pending 5..6", "Initializing 6..6", "ModelLoading 6..6", "Generating 6..")
	cancel(&view.job.Spec)
	expect("Pending 5..6", "Initializing 6..6", "ModelLoading 6..6", "Generating 6..")
	view.holdings = nil
	expect("Pending 5..6", "Initializing 6..6", "ModelLoading 6..6", "Generating 6..8")
}

func TestStagesAreCountedOnce(t *testing.T) {
	waiting := []v1alpha1.Stage{{Phase: v1alpha1.PhasePending, StartTime: ago(9 * time.Second)}}
	drawing := append([]v1alpha1.Stage{{Phase: v1alpha1.PhasePending, StartTime: ago(9 * time.Second), EndTime: new(ago(3 * time.Second))}},
		reportedStages(false, -3, -2, -1)...)
	again := []v1alpha1.Stage{{Phase: v1alpha1.PhasePending, StartTime: ago(0)}}
	for name, tt := range map[string]struct {
		before, after []v1alpha1.Stage
		want          []string
	}{
		"first sight":      {nil, waiting, []string{}},
		"nothing new":      {drawing, drawing, []string{}},
		"several at once":  {waiting, drawing, []string{"Pending -9..-3", "Initializing -3..-2", "ModelLoading -2..-1"}},
		"the attempt ends": {drawing, again, []string{"Generating -1..0"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, stageTexts(stagesEnded(tt.before, tt.after))); diff != "" {
				t.Errorf("ended (-want +got):\n%s", diff)
			}
		})
	}
	if got := knownReason("whatever a runner says"); got != "Other" {
		t.Errorf("the label is %q", got)
	}
}
