// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

var testNow = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func newJob() *v1alpha1.GenerationJob {
	return &v1alpha1.GenerationJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "studio", Name: "apple", UID: "0123456789", Generation: 1},
		Spec:       v1alpha1.GenerationJobSpec{ModelRef: v1alpha1.ObjectReference{Name: "emoji"}, Prompt: "a red apple"},
	}
}

// viewOf is a job with its model and a ready pool.
func viewOf(job *v1alpha1.GenerationJob) jobView {
	pool := &v1alpha1.RunnerPool{}
	setCondition(&pool.Status.Conditions, 1, testNow, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonScaled, "")
	return jobView{
		job:     job,
		model:   &v1alpha1.Model{},
		pool:    pool,
		seed:    7,
		backoff: Backoff{Base: time.Second, Max: time.Minute},
		now:     testNow,
	}
}

// held is what runner "r" holds of the job for an attempt.
func held(attempt int32, report *v1alpha1.AssignmentReport) holding {
	if report != nil {
		report.Attempt = attempt
	}
	return holding{
		runner:     v1alpha1.RunnerBinding{Name: "r", PodUID: "pod"},
		assignment: &v1alpha1.Assignment{Attempt: attempt},
		report:     report,
	}
}

func failureReport(reason string, retryable bool) *v1alpha1.AssignmentReport {
	return &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseFailed, Error: &v1alpha1.AssignmentError{Reason: reason, Message: "why", Retryable: retryable}}
}

func conditionText(status v1alpha1.GenerationJobStatus, condition string) string {
	c := ptr.Deref(meta.FindStatusCondition(status.Conditions, condition), metav1.Condition{})
	return string(c.Status) + " " + c.Reason + ": " + c.Message
}

func poolElsewhere() *v1alpha1.PoolReference {
	return &v1alpha1.PoolReference{Name: "gpu", Namespace: new("platform")}
}

func TestObstacles(t *testing.T) {
	past, future := metav1.NewTime(testNow.Add(-time.Second)), metav1.NewTime(testNow.Add(time.Minute))
	tests := map[string]struct {
		change func(*jobView)
		want   string
	}{
		"no free runner":    {func(*jobView) {}, `False WaitingForRunner: no runner of RunnerPool "default" is free yet (maxRunners is 1)`},
		"no model":          {func(v *jobView) { v.model = nil }, `False ModelNotFound: there is no Model "emoji" in namespace "studio"`},
		"no pool":           {func(v *jobView) { v.pool = nil }, `False PoolNotFound: there is no RunnerPool "default" in namespace "studio"`},
		"no priority class": {func(v *jobView) { v.job.Spec.PriorityClassName, v.classMissing = new("urgent"), true }, `False PriorityClassNotFound: there is no PriorityClass "urgent"`},
		"a pool elsewhere that is not there, or does not allow the job": {func(v *jobView) { v.pool, v.job.Spec.PoolRef = nil, poolElsewhere() },
			`False NotAllowedByPool: no RunnerPool "gpu" in namespace "platform" allows jobs from namespace "studio"`},
		"a pool elsewhere, of which no more is said": {func(v *jobView) {
			v.job.Spec.PoolRef = poolElsewhere()
			setCondition(&v.pool.Status.Conditions, 1, testNow, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonScaling, "pod x waits")
		}, `False WaitingForRunner: RunnerPool "gpu" in namespace "platform" has not given it a runner yet`},
		"a suspended pool":     {func(v *jobView) { v.pool.Spec.Suspend = new(true) }, `False PoolSuspended: RunnerPool "default" is suspended`},
		"no model and no pool": {func(v *jobView) { v.model, v.pool = nil, nil }, `False ModelNotFound: `},
		"an unseen pool":       {func(v *jobView) { v.pool.Status.Conditions = nil }, `False WaitingForRunner: RunnerPool "default" was not looked at yet`},
		"a pool that starts none": {func(v *jobView) {
			setCondition(&v.pool.Status.Conditions, 1, testNow, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidTemplate, "spec.template is wrong")
		}, `False PoolInvalid: RunnerPool "default" can't start runners: spec.template is wrong`},
		"a stalled pool that serves its own namespace all the same": {func(v *jobView) {
			setCondition(&v.pool.Status.Conditions, 1, testNow, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidNamespaces, "spec.allowedNamespaces is wrong")
		}, `False WaitingForRunner: no runner of RunnerPool "default" is free yet`},
		"a pool that scales": {func(v *jobView) {
			setCondition(&v.pool.Status.Conditions, 1, testNow, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonScaling, "pod x waits")
		}, `False WaitingForRunner: RunnerPool "default" has no free runner yet: pod x waits`},
		"a report without an assignment": {func(v *jobView) {
			h := held(1, &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseGenerating})
			h.assignment = nil
			v.holdings = []holding{h}
		}, `False Releasing: runner "r" has still to confirm that it let go of the job`},
		"a wait that is over":  {func(v *jobView) { v.job.Status.RetryTime = &past }, "False WaitingForRunner: "},
		"a wait says the same": {func(v *jobView) { v.job.Status.RetryTime = &future }, "Unknown WaitingForRunner: no runner was looked for yet"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			view := viewOf(newJob())
			tt.change(&view)
			status := decideJob(view)
			if got := conditionText(status, v1alpha1.ConditionScheduled); !strings.HasPrefix(got, tt.want) {
				t.Errorf("Scheduled is %s\nwant %s", got, tt.want)
			}
			if status.Phase != v1alpha1.PhasePending {
				t.Errorf("phase is %s", status.Phase)
			}
		})
	}
}

func TestSeedIsDrawnOnce(t *testing.T) {
	view := viewOf(newJob())
	if got := *decideJob(view).Seed; got != 7 {
		t.Errorf("seed is %d, want the one that was drawn", got)
	}
	view.job.Status.Seed = ptr.To[int64](3)
	if got := *decideJob(view).Seed; got != 3 {
		t.Errorf("seed is %d, want the one that was recorded", got)
	}
	view.job.Status.Seed, view.job.Spec.Seed = nil, ptr.To[int64](0)
	if got := *decideJob(view).Seed; got != 0 {
		t.Errorf("seed is %d, want the one in the spec", got)
	}
	for range 1000 {
		if seed := drawSeed(); seed < 0 || seed >= 1<<32 {
			t.Fatalf("drew %d", seed)
		}
	}
}

func TestJudge(t *testing.T) {
	backoff := Backoff{Base: time.Second, Max: 5 * time.Second}
	e := func(reason string, retryable bool) v1alpha1.AssignmentError {
		return v1alpha1.AssignmentError{Reason: reason, Message: "why", Retryable: retryable}
	}
	tests := map[string]struct {
		err             v1alpha1.AssignmentError
		failures, limit int32
		want            verdict
		lost            int32
	}{
		"tried again":     {e("GenerationFailed", true), 0, 3, verdict{reason: "GenerationFailed", message: "why", counted: true, delay: time.Second}, 0},
		"later and later": {e("GenerationFailed", true), 2, 3, verdict{reason: "GenerationFailed", message: "why", counted: true, delay: 4 * time.Second}, 0},
		"but not for ever": {e("GenerationFailed", true), 50, 100,
			verdict{reason: "GenerationFailed", message: "why", counted: true, delay: 5 * time.Second}, 0},
		"the last attempt": {e("SaveFailed", true), 3, 3,
			verdict{final: true, counted: true, reason: "BackoffLimitExceeded", message: "4 attempts failed (backoffLimit is 3), the last with SaveFailed: why"}, 0},
		"the only attempt": {e("SaveFailed", true), 0, 0,
			verdict{final: true, counted: true, reason: "BackoffLimitExceeded", message: "1 attempt failed (backoffLimit is 0), the last with SaveFailed: why"}, 0},
		"no use in trying":    {e("InvalidRequest", false), 0, 3, verdict{final: true, counted: true, reason: "InvalidRequest", message: "why"}, 0},
		"not the job's fault": {e("RunnerLost", true), 3, 3, verdict{reason: "RunnerLost", message: "why"}, 0},
		"nor this":            {e("Cancelled", false), 3, 3, verdict{reason: "Cancelled", message: "why"}, 0},
		"lost again":          {e("RunnerLost", true), 3, 3, verdict{reason: "RunnerLost", message: "why", delay: time.Second}, 1},
		"and again":           {e("RunnerLost", true), 3, 3, verdict{reason: "RunnerLost", message: "why", delay: 4 * time.Second}, 3},
		"a store is down":     {e("StoreUnavailable", true), 0, 0, verdict{reason: "StoreUnavailable", message: "why", delay: time.Second}, 1},
		"lost for ever":       {e("RunnerLost", true), 0, 0, verdict{reason: "RunnerLost", message: "why", delay: 5 * time.Second}, 1 << 30},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := judge(tt.err, tt.failures, tt.lost, tt.limit, backoff); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// TestAnAttemptFailsOnce sees to it that a failure is not counted again while the runner
// still shows it.
func TestAnAttemptFailsOnce(t *testing.T) {
	view := viewOf(newJob())
	view.holdings = []holding{held(1, failureReport(v1alpha1.ReasonRunnerCrashed, true))}
	view.job.Status = decideJob(view)
	first := view.job.Status.DeepCopy()
	view.now = view.now.Add(time.Hour)
	again := decideJob(view)
	if first.Failures != 1 || again.Failures != 1 || !again.RetryTime.Equal(first.RetryTime) {
		t.Errorf("failures went from %d to %d, the next attempt from %v to %v", first.Failures, again.Failures, first.RetryTime, again.RetryTime)
	}
	view.holdings = []holding{held(2, failureReport(v1alpha1.ReasonRunnerCrashed, true))}
	if next := decideJob(view); next.Failures != 2 || next.Attempt != 2 {
		t.Errorf("attempt %d left %d failures", next.Attempt, next.Failures)
	}
}

func TestAJobIsBoundWhereItsStatusSays(t *testing.T) {
	job := newJob()
	known, other := held(1, nil), held(1, nil)
	other.runner.Name = "another"
	job.Status.Runner = &known.runner
	if bound := boundHolding(job, []holding{other, known}); bound.runner != known.runner {
		t.Errorf("bound to %v", bound.runner)
	}
	job.Status.Runner = nil
	if bound := boundHolding(job, []holding{other, known}); bound.runner != other.runner {
		t.Errorf("bound to %v", bound.runner)
	}
	known.assignment, other.assignment = nil, nil
	if bound := boundHolding(job, []holding{other, known}); bound != nil {
		t.Errorf("bound to %v by a report alone", bound.runner)
	}
}

func TestWarningsAreASet(t *testing.T) {
	view := viewOf(newJob())
	report := &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseGenerating}
	for i := range 40 {
		report.Warnings = append(report.Warnings, string(rune('a'+i%34)))
	}
	view.holdings = []holding{held(1, report)}
	warnings := decideJob(view).Warnings
	if len(warnings) != maxWarnings || len(slices.Compact(slices.Sorted(slices.Values(warnings)))) != maxWarnings {
		t.Errorf("%d warnings: %v", len(warnings), warnings)
	}
}

func TestPhaseFollowsFromConditionsAndReport(t *testing.T) {
	report := &v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseModelLoading}
	tests := map[string]struct {
		conditions []string
		progress   int32
		report     *v1alpha1.AssignmentReport
		want       v1alpha1.Phase
	}{
		"nothing known":          {want: v1alpha1.PhasePending},
		"bound":                  {conditions: []string{"Scheduled"}, want: v1alpha1.PhasePending},
		"reported":               {conditions: []string{"Scheduled"}, report: report, want: v1alpha1.PhaseModelLoading},
		"no longer scheduled":    {report: report, want: v1alpha1.PhasePending},
		"going to be Complete":   {conditions: []string{"Scheduled", "SuccessCriteriaMet"}, progress: 95, want: v1alpha1.PhaseSaving},
		"going to be Failed":     {conditions: []string{"Scheduled", "FailureTarget"}, progress: 42, want: v1alpha1.PhaseGenerating},
		"failed at once":         {conditions: []string{"Scheduled", "FailureTarget"}, progress: 1, want: v1alpha1.PhaseInitializing},
		"failed before a report": {conditions: []string{"Scheduled", "FailureTarget"}, want: v1alpha1.PhasePending},
		"failed in loading":      {conditions: []string{"Scheduled", "FailureTarget"}, progress: 5, want: v1alpha1.PhaseModelLoading},
		"Complete":               {conditions: []string{"Scheduled", "SuccessCriteriaMet", "Complete"}, report: report, want: v1alpha1.PhaseSucceeded},
		"Failed":                 {conditions: []string{"Scheduled", "FailureTarget", "Failed"}, report: report, want: v1alpha1.PhaseFailed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			status := &v1alpha1.GenerationJobStatus{Progress: tt.progress}
			for _, c := range tt.conditions {
				setCondition(&status.Conditions, 1, testNow, c, metav1.ConditionTrue, "Test", "")
			}
			if got := phaseOf(status, tt.report); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestTruncateKeepsCharactersWhole(t *testing.T) {
	for n, want := range map[int]string{0: "", 1: "a", 2: "a", 3: "aé", 4: "aéb", 9: "aéb"} {
		if got := truncate("aéb", n); got != want {
			t.Errorf("truncate to %d: %q, want %q", n, got, want)
		}
	}
}
