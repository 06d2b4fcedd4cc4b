// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/atelier-dev/atelier/internal/parity"
)

// line is an event as go test -json prints it.
func line(t *testing.T, e event) string {
	t.Helper()
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + "\n"
}

func subject(t *testing.T, test, kind, name string) string {
	t.Helper()
	return line(t, event{Action: "attr", Package: "p", Test: test, Key: parity.SubjectKey, Value: fmt.Sprintf(`{"Kind":%q,"Name":%q}`, kind, name)})
}

func figure(t *testing.T, test string, m parity.Measure, worst, bound float64) string {
	t.Helper()
	return line(t, event{
		Action: "attr", Package: "p", Test: test, Key: parity.FigureKey,
		Value: fmt.Sprintf(`{"Measure":%q,"Worst":%g,"Bound":%g,"Cases":2}`, m, worst, bound),
	})
}

// TestTheWorstFigureOfEachSubjectIsPrinted also of subtests, which are about what the test
// around them is about.
func TestTheWorstFigureOfEachSubjectIsPrinted(t *testing.T) {
	var out, log strings.Builder
	events := subject(t, "A/sd", "family", "Stable Diffusion") +
		figure(t, "A/sd/one/deeper", parity.Latents, 1e-6, 1e-4) +
		figure(t, "A/sd/two", parity.Latents, 3e-5, 1e-4) +
		figure(t, "A/sd/half", parity.Latents, 4e-5, 1e-2) +
		figure(t, "A/sd/two", parity.Pixels, 0.0002, 0.001) +
		subject(t, "B", "scheduler", "DDIMScheduler") +
		figure(t, "B", parity.Samples, 0, 1e-4) +
		line(t, event{Action: "attr", Test: "B", Key: "theirs", Value: "{"}) +
		line(t, event{Action: "output", Test: "B", Output: "noise"})
	if err := run(strings.NewReader(events), &out, &log); err != nil {
		t.Error(err)
	}
	want := `FAMILY            MEASURE              CASES  WORST    ALLOWED
Stable Diffusion  latents              6      3.0e-05  1.0e-04
                  pixels within 1/255  2      99.98 %  99.9 %
SCHEDULER         MEASURE              CASES  WORST    ALLOWED
DDIMScheduler     samples              2      0.0e+00  1.0e-04
`
	if out.String() != want || log.Len() > 0 {
		t.Errorf("got\n%swant\n%s%s", out.String(), want, log.String())
	}
}

func TestWhatIsNotEqualFails(t *testing.T) {
	equal := subject(t, "A", "family", "Stable Diffusion") + figure(t, "A", parity.Latents, 1e-5, 1e-4)
	for name, c := range map[string]struct{ events, out, log, err string }{
		"nothing compared":    {line(t, event{Action: "pass", Test: "A"}), "", "", "no test compared anything"},
		"past the bound":      {equal + figure(t, "A", parity.Latents, 2e-4, 1e-4), "2.0e-04  1.0e-04  <- past its bound", "", "not equal"},
		"a test that fails":   {equal + line(t, event{Action: "output", Test: "A", Output: "why\n"}) + line(t, event{Action: "fail", Test: "A"}), "1.0e-05", "why\n", "not equal"},
		"no build":            {equal + line(t, event{Action: "build-output", Output: "undefined\n"}) + line(t, event{Action: "fail"}), "1.0e-05", "undefined\n", "not equal"},
		"no subject":          {figure(t, "C/d", parity.Latents, 0, 1), "", "", "C/d leaves a figure"},
		"no events":           {"FAIL", "", "", "reading the output"},
		"figure that is none": {line(t, event{Action: "attr", Test: "A", Key: parity.FigureKey, Value: "x"}), "", "", "A: attribute parity-figure"},
	} {
		var out, log strings.Builder
		err := run(strings.NewReader(c.events), &out, &log)
		if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(out.String(), c.out) || log.String() != c.log {
			t.Errorf("%s: %v\n%s%s", name, err, out.String(), log.String())
		}
	}
}
