// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"errors"
	"fmt"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/bucket"
	"github.com/atelier-dev/atelier/internal/modelstore/cache"
	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// Why work is cut short, as the cause of its context.
var (
	// errRemoved means that the assignment was taken away. Its report is dropped.
	errRemoved = errors.New("the assignment was taken away")
	// errTerminating means that the process has to end.
	errTerminating = errors.New("the runner is terminating")
)

// ErrPipelineUnhealthy is why the process ends when its pipeline can't be mended: a new
// process starts with a new one.
var ErrPipelineUnhealthy = errors.New("the pipeline is unhealthy after a reload")

// ErrSupplanted is why the process ends when another one reports for the same pod: a
// Runner's status has one writer.
var ErrSupplanted = errors.New("another process of this pod reports to the Runner")

// failure is why an attempt failed, as it is reported.
type failure struct {
	reason    string
	message   string
	retryable bool
	// err is the cause. It is nil where the message says everything.
	err error
}

func (f *failure) Error() string { return f.reason + ": " + f.message }
func (f *failure) Unwrap() error { return f.err }

// failed makes a failure of an error. Whatever the stage, an error that blames the
// request, a file of the model, its size or bytes with the wrong digest is final; all others get the stage's reason and may be
// tried again. That a store is down is no fault of the job and has a reason of its own.
func failed(reason string, err error) *failure {
	var request *pipeline.RequestError
	var model *pipeline.ModelError
	var large *pipeline.TooLargeError
	var wrong *fetch.VerifyError
	var full *cache.FullError
	var store *bucket.Error
	f := &failure{reason: reason, message: err.Error(), retryable: true, err: err}
	switch {
	case errors.As(err, &request):
		f.reason, f.retryable = v1alpha1.ReasonInvalidRequest, false
	case errors.As(err, &model):
		f.reason, f.retryable = v1alpha1.ReasonModelInvalid, false
	case errors.As(err, &large):
		f.reason, f.retryable = v1alpha1.ReasonModelTooLarge, false
	case errors.As(err, &wrong):
		f.reason, f.retryable = v1alpha1.ReasonModelVerifyFailed, false
	case errors.As(err, &full):
		f.reason = v1alpha1.ReasonCacheFull
	case reason == v1alpha1.ReasonSaveFailed && errors.As(err, &store) && store.Temporary:
		f.reason = v1alpha1.ReasonStoreUnavailable
	}
	return f
}

// crashed is said of work that an earlier process in this pod did not bring to its end.
func crashed() *failure {
	return &failure{
		reason:    v1alpha1.ReasonRunnerCrashed,
		message:   "the runner's process ended while it had the job",
		retryable: true,
	}
}

// lost is said of work that the end of the process cuts short. A runner is told to end
// by eviction, drain, scaling or a restart, none of which is the job's doing, so that
// it gets the reason that does not count against the job.
func lost() *failure {
	return &failure{
		reason:    v1alpha1.ReasonRunnerLost,
		message:   "the runner was told to end while it had the job",
		retryable: true,
		err:       errTerminating,
	}
}

// unhealthy is said where loading again did not mend the pipeline.
func unhealthy(health pipeline.Health) *failure {
	return &failure{
		reason:    v1alpha1.ReasonPipelineUnhealthy,
		message:   fmt.Sprintf("the pipeline is still unhealthy after a reload: %s: %s", health.Reason, health.Message),
		retryable: true,
		err:       ErrPipelineUnhealthy,
	}
}

// panicked is said of work that panicked.
func panicked(value any) *failure {
	return &failure{
		reason:    v1alpha1.ReasonGenerationFailed,
		message:   fmt.Sprintf("panic: %v", value),
		retryable: true,
	}
}
