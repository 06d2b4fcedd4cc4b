// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package retry

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var errBusy = errors.New("busy")

// always is one who never gives up.
func always(error, time.Duration) bool { return true }

// TestWaits has the ninth try work, and looks at when each was made.
func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var tried []time.Duration
		err := Do(t.Context(), time.Second, func() error {
			tried = append(tried, time.Since(begin))
			if len(tried) < 9 {
				return errBusy
			}
			return nil
		}, always)
		want := []time.Duration{0, 1, 3, 7, 15, 31, 61, 91, 121}
		for i := range want {
			want[i] *= time.Second
		}
		if err != nil || !slices.Equal(tried, want) {
			t.Errorf("tried after %v (%v), want %v", tried, err, want)
		}
	})
}

// TestGivesUp where there is to be no other try: with the last one's error, at once.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, tries := time.Now(), 0
		err := Do(t.Context(), time.Second, func() error { tries++; return errBusy }, func(err error, wait time.Duration) bool {
			return errors.Is(err, errBusy) && wait < 4*time.Second
		})
		if took := time.Since(begin); !errors.Is(err, errBusy) || tries != 3 || took != 3*time.Second {
			t.Errorf("%v after %d tries in %s, want %v after 3 in 3s", err, tries, took, errBusy)
		}
	})
}

// TestStops when it is told to, in a try and between two.
func TestStops(t *testing.T) {
	errTold := errors.New("told to stop")
	for name, delay := range map[string]time.Duration{"in a try": 500 * time.Millisecond, "in a wait": 1500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithTimeoutCause(t.Context(), delay, errTold)
				defer stop()
				begin := time.Now()
				err := Do(ctx, time.Second, func() error {
					_ = Pause(ctx, time.Second) // What ends it says nothing to the one who tries.
					return errBusy
				}, always)
				if took := time.Since(begin); !errors.Is(err, errTold) || took != delay {
					t.Errorf("%v after %s, want %v after %s", err, took, errTold, delay)
				}
			})
		})
	}
}
