// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// TestEndsAreCountedByOutcomeAndReason ends jobs in each way and reads the counter.
func TestEndsAreCountedByOutcomeAndReason(t *testing.T) {
	for _, tt := range []struct{ condition, reason, outcome, label string }{
		{v1alpha1.ConditionComplete, v1alpha1.ReasonSucceeded, "succeeded", "Succeeded"},
		{v1alpha1.ConditionFailed, v1alpha1.ReasonLoadDeadlineExceeded, "failed", "LoadDeadlineExceeded"},
		{v1alpha1.ConditionFailed, "SaysARunner", "failed", "Other"},
		{v1alpha1.ConditionCancelled, v1alpha1.ReasonCancelled, "cancelled", "Cancelled"},
	} {
		before := gathered(t, "atelier_jobs_finished_total", tt.outcome, tt.label)
		job := newJob()
		ended := job.Status.DeepCopy()
		ended.CompletionTime = new(metav1.NewTime(testNow))
		setCondition(&ended.Conditions, 1, testNow, tt.condition, metav1.ConditionTrue, tt.reason, "")
		countJob(job, &job.Status, ended)
		countJob(job, ended, ended)
		if counted := gathered(t, "atelier_jobs_finished_total", tt.outcome, tt.label) - before; counted != 1 {
			t.Errorf("%s for %s was counted %v times", tt.outcome, tt.label, counted)
		}
	}
}

// TestTheQueueIsCountedOnce lets a job begin, and begin again after it was suspended.
func TestTheQueueIsCountedOnce(t *testing.T) {
	job := newJob()
	job.CreationTimestamp = metav1.NewTime(testNow.Add(-time.Minute))
	first := job.Status.DeepCopy()
	first.Attempt, first.StartTime = 1, new(metav1.NewTime(testNow))
	parked := first.DeepCopy()
	parked.StartTime = nil
	again := parked.DeepCopy()
	again.Attempt, again.StartTime = 2, new(metav1.NewTime(testNow.Add(time.Hour)))
	before := gathered(t, "atelier_job_queue_duration_seconds")
	countJob(job, &job.Status, first)
	countJob(job, first, parked)
	countJob(job, parked, again)
	if counted := gathered(t, "atelier_job_queue_duration_seconds") - before; counted != 1 {
		t.Errorf("counted %v times", counted)
	}
}

// gathered is how often something was counted or observed that has these label values, in the
// order of the labels' names.
func gathered(t *testing.T, name string, values ...string) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			if family.GetName() == name && slices.Equal(labels, values) {
				return metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}
