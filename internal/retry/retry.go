// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package retry tries again what others may mend, and waits longer each time.
package retry

import (
	"context"
	"time"
)

// maxWait bounds the wait between two tries.
const maxWait = 30 * time.Second

// Do tries until it works or again, which is asked after each try that failed, says that
// there is no use in another one after that wait. The first wait doubles with each try, up
// to half a minute. The error is that of the last try, or the cause of ctx once that is done.
func Do(ctx context.Context, first time.Duration, try func() error, again func(err error, wait time.Duration) bool) error {
	for wait := first; ; wait = min(2*wait, maxWait) {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !again(err, wait) {
			return err
		}
		if err := Pause(ctx, wait); err != nil {
			return err
		}
	}
}

// Pause waits, or gives the cause of ctx once that is done.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
