// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"testing"
)

// TestRelayGivesNoErrors: the reflector would log them with the object and its prompts.
func TestRelayGivesNoErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (relay{ctx: ctx, observed: nil}).Update(assigned(key{"a", 1})); err != nil {
		t.Error(err)
	}
}

func TestNewer(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"10", "9", true},
		{"9", "10", false},
		{"9", "9", false},
		{"x2", "x1", true},
		{"x1", "x1", false},
	} {
		if got := newer(test.a, test.b); got != test.want {
			t.Errorf("newer(%q, %q) = %t", test.a, test.b, got)
		}
	}
}
