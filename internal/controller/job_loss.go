// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// lostAttempts is how many of a job's attempts since it was last suspended ended without
// counting as failures, the present one included once that has ended.
func lostAttempts(status *v1alpha1.GenerationJobStatus) int32 {
	return max(0, uncountedAttempts(status)-status.ForgottenLosses)
}

// uncountedAttempts is how many of a job's attempts ended without counting as failures, the
// present one included, whether its runner was lost or the job suspended.
func uncountedAttempts(status *v1alpha1.GenerationJobStatus) int32 {
	return status.Attempt - status.Failures
}

// lossUnnoted reports whether a job that no runner holds is still said to be with one,
// though it has to wait: the runner went away without a word, and was not the first.
func lossUnnoted(status *v1alpha1.GenerationJobStatus) bool {
	return lostAttempts(status) > 1 && status.RetryTime == nil && meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionScheduled)
}

// noteLoss records how long a job has to wait whose runners go away again and again.
func (d *jobDecision) noteLoss() {
	if len(d.holdings) == 0 && lossUnnoted(d.status) {
		d.retryIn(d.backoff.DelayLost(lostAttempts(d.status)), v1alpha1.ReasonRunnerLost,
			fmt.Sprintf("runner %q went away, which does not count against backoffLimit", d.status.Runner.Name))
	}
}
