// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"time"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// verdict is what follows from a failed attempt.
type verdict struct {
	// final means that the job fails, for reason; otherwise it is tried again after
	// delay.
	final   bool
	reason  string
	message string
	// counted means that the attempt counts against the backoff limit.
	counted bool
	delay   time.Duration
}

// uncounted holds the reasons for which an attempt ends through no fault of its job.
var uncounted = map[string]bool{
	v1alpha1.ReasonRunnerLost:       true,
	v1alpha1.ReasonStoreUnavailable: true,
	v1alpha1.ReasonCancelled:        true,
}

// judge decides what follows when an attempt of a job that had failed failures times, and
// been lost lost times, before ended with e.
func judge(e v1alpha1.AssignmentError, failures, lost, limit int32, backoff Backoff) verdict {
	switch {
	case uncounted[e.Reason]:
		return verdict{reason: e.Reason, message: e.Message, delay: backoff.DelayLost(lost + 1)}
	case !e.Retryable:
		return verdict{final: true, counted: true, reason: e.Reason, message: e.Message}
	case failures >= limit:
		return verdict{
			final:   true,
			counted: true,
			reason:  v1alpha1.ReasonBackoffLimitExceeded,
			message: fmt.Sprintf("%s failed (backoffLimit is %d), the last with %s: %s", count(int(failures)+1, "attempt"), limit, e.Reason, e.Message),
		}
	}
	return verdict{counted: true, reason: e.Reason, message: e.Message, delay: backoff.Delay(failures + 1)}
}
