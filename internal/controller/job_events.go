// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// notice is what an Event says, apart from what it is about.
type notice struct {
	kind   string
	reason string
	action string
	note   string
}

// maxNote is the API's bound on an event's note.
const maxNote = 1024

// The actions of events, in the words of what the manager did.
const (
	actionBind     = "Bind"
	actionWait     = "Wait"
	actionRetry    = "Retry"
	actionFinish   = "Finish"
	actionGenerate = "Generate"
	actionSuspend  = "Suspend"
	actionResume   = "Resume"
)

// jobEvents returns what to tell about a change of a job's status: each transition once.
func jobEvents(before, after *v1alpha1.GenerationJobStatus) []notice {
	var notices []notice
	add := func(kind, reason, action, note string) {
		notices = append(notices, notice{kind, reason, action, truncate(note, maxNote)})
	}
	scheduled := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionScheduled)
	if after.Attempt > before.Attempt {
		add(corev1.EventTypeNormal, v1alpha1.ReasonBound, actionBind,
			fmt.Sprintf("runner %q has the job for attempt %d", after.Runner.Name, after.Attempt))
	}
	for _, warning := range after.Warnings {
		if !slices.Contains(before.Warnings, warning) {
			add(corev1.EventTypeWarning, v1alpha1.ReasonRunnerWarning, actionGenerate, warning)
		}
	}
	suspended := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionSuspended)
	if suspended != nil && suspended.Reason == v1alpha1.ReasonResumed && meta.IsStatusConditionTrue(before.Conditions, v1alpha1.ConditionSuspended) {
		add(corev1.EventTypeNormal, v1alpha1.ReasonResumed, actionResume, suspended.Message)
	}
	switch {
	case becameTrue(before, after, v1alpha1.ConditionSuspended):
		add(corev1.EventTypeNormal, v1alpha1.ReasonSuspended, actionSuspend, suspended.Message)
	case becameTrue(before, after, v1alpha1.ConditionCancelled):
		add(corev1.EventTypeNormal, v1alpha1.ReasonCancelled, actionFinish, conditionMessage(after, v1alpha1.ConditionCancelled))
	case becameTrue(before, after, v1alpha1.ConditionComplete):
		add(corev1.EventTypeNormal, v1alpha1.ReasonSucceeded, actionFinish, conditionMessage(after, v1alpha1.ConditionComplete))
	case becameTrue(before, after, v1alpha1.ConditionFailed):
		failed := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionFailed)
		add(corev1.EventTypeWarning, failed.Reason, actionFinish, tellable(failed))
	case after.RetryTime != nil && !after.RetryTime.Equal(before.RetryTime):
		add(corev1.EventTypeWarning, v1alpha1.ReasonBackoff, actionRetry, scheduled.Message)
	case scheduled.Status == metav1.ConditionFalse && meta.IsStatusConditionTrue(before.Conditions, v1alpha1.ConditionScheduled):
		add(corev1.EventTypeWarning, v1alpha1.ReasonRunnerLost, actionRetry,
			fmt.Sprintf("runner %q went away during attempt %d, which does not count against backoffLimit", after.Runner.Name, after.Attempt))
	case misconfigured[scheduled.Reason] && scheduled.Reason != conditionReason(before, v1alpha1.ConditionScheduled):
		add(corev1.EventTypeWarning, scheduled.Reason, actionWait, scheduled.Message)
	}
	return notices
}

// fieldName is how a message about a bad request begins: with a field of the job's spec.
var fieldName = regexp.MustCompile(`^[A-Za-z]+(\.[A-Za-z]+)*: `)

// tellable is why a job failed, without what its author wrote. The message of a bad request
// has the value that is wrong, which may be a prompt: that stays in the job's status, as
// events are logged and shipped as logs are.
func tellable(failed *metav1.Condition) string {
	if failed.Reason != v1alpha1.ReasonInvalidRequest {
		return failed.Message
	}
	field := "what the job asks for"
	if name := fieldName.FindString(failed.Message); name != "" {
		field = "spec." + strings.TrimSuffix(name, ": ")
	}
	return fmt.Sprintf("the model can't do %s; the job's condition Failed says what would be right", field)
}

// misconfigured holds the reasons to wait for that only a person can mend.
var misconfigured = map[string]bool{
	v1alpha1.ReasonModelNotFound:         true,
	v1alpha1.ReasonPoolNotFound:          true,
	v1alpha1.ReasonPriorityClassNotFound: true,
	v1alpha1.ReasonPoolInvalid:           true,
	v1alpha1.ReasonNotAllowedByPool:      true,
}

func becameTrue(before, after *v1alpha1.GenerationJobStatus, condition string) bool {
	return meta.IsStatusConditionTrue(after.Conditions, condition) && !meta.IsStatusConditionTrue(before.Conditions, condition)
}

func conditionReason(status *v1alpha1.GenerationJobStatus, condition string) string {
	if c := meta.FindStatusCondition(status.Conditions, condition); c != nil {
		return c.Reason
	}
	return ""
}

func conditionMessage(status *v1alpha1.GenerationJobStatus, condition string) string {
	if c := meta.FindStatusCondition(status.Conditions, condition); c != nil {
		return c.Message
	}
	return ""
}
