// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"errors"
	"log/slog"

	"github.com/atelier-dev/atelier/internal/pipeline"
)

// logEnd says what became of an assignment.
func logEnd(log *slog.Logger, e end) {
	var f *failure
	switch {
	case e.err == nil:
		log.Info("Assignment succeeded", "outputs", len(e.outputs))
	case errors.As(e.err, &f):
		log.Warn("Assignment failed", "reason", f.reason, "retryable", f.retryable, explain(f))
	default:
		log.Info("Assignment dropped", "cause", e.err.Error())
	}
}

// explain gives a failure's message, or for a bad request only the field: the value may
// be a prompt, and prompts stay out of logs.
func explain(f *failure) slog.Attr {
	if request, ok := errors.AsType[*pipeline.RequestError](f); ok {
		return slog.String("field", request.Field)
	}
	return slog.String("message", f.message)
}
