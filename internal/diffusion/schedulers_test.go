// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/atelier-dev/atelier/internal/parity"
)

// golden is one configuration in a file of hack/goldens/schedulers.py. Refused says that
// diffusers refuses it, or has no finite numbers for it.
type golden struct {
	Options map[string]any `json:"options"`
	Refused string         `json:"refused"`
	Runs    []goldenRun    `json:"runs"`
}

type goldenRun struct {
	Steps          int         `json:"steps"`
	Begin          int         `json:"begin"`
	Eta            float64     `json:"eta"`
	Mu             float64     `json:"mu"`
	Refused        string      `json:"refused"`
	Timesteps      []float32   `json:"timesteps"`
	InitNoiseSigma float32     `json:"initNoiseSigma"`
	Samples        [][]float32 `json:"samples"`
}

// sampleBound is the largest difference from diffusers that a sample may have, relative
// to the largest numbers of the step.
const sampleBound = 2e-5

// notFinite is what the script writes where diffusers gives NaN.
const notFinite = "the samples are not finite"

// TestSchedulersEqualDiffusers runs every configuration that diffusers ran, with the same
// stand-in for a network.
func TestSchedulersEqualDiffusers(t *testing.T) {
	for _, class := range Classes() {
		t.Run(class, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("../../test/testdata/goldens/schedulers", class+".json"))
			if err != nil {
				t.Fatalf("%v; run hack/goldens/schedulers.py", err)
			}
			var goldens []golden
			if err := json.Unmarshal(data, &goldens); err != nil {
				t.Fatal(err)
			}
			runs, most := 0, 0.0
			for _, g := range goldens {
				runs += len(g.Runs)
				most = math.Max(most, g.compare(t, class))
			}
			if runs < 100 {
				t.Errorf("only %d runs were compared", runs)
			}
			parity.About(t, "scheduler", class)
			parity.Record(t, "of all runs", parity.Figure{Measure: parity.Samples, Worst: most, Bound: sampleBound, Cases: runs})
		})
	}
}

// compare gives the largest difference of a sample.
func (g golden) compare(t *testing.T, class string) float64 {
	t.Helper()
	options := map[string]any{"_class_name": class}
	maps.Copy(options, g.Options)
	data, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	config, err := ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	err = Check(class, config)
	if g.Refused != "" {
		if !isConfigError(err) {
			t.Errorf("%s: got %v, but diffusers refuses it: %s", data, err, g.Refused)
		}
		return 0
	}
	most := 0.0
	for _, run := range g.Runs {
		if run.Refused != "" {
			run.compareRefusal(t, class, config, data)
			continue
		}
		difference, err := run.compare(class, config)
		// What diffusers fails at in some runs may be refused for all.
		if isConfigError(err) && g.refusesSome() {
			continue
		}
		if err != nil || difference > sampleBound {
			t.Errorf("%s, %d steps from %d: differs by %.2g (%v)", data, run.Steps, run.Begin, difference, err)
		}
		most = math.Max(most, difference)
	}
	return most
}

// refusesSome says that diffusers refuses some of the runs.
func (g golden) refusesSome() bool {
	return slices.ContainsFunc(g.Runs, func(r goldenRun) bool { return r.Refused != "" })
}

func isConfigError(err error) bool {
	_, ok := errors.AsType[*ConfigError](err)
	return ok
}

// compareRefusal wants what diffusers refuses to be refused, and where diffusers gives
// NaN either that or finite numbers.
func (r goldenRun) compareRefusal(t *testing.T, class string, config Config, data []byte) {
	t.Helper()
	s, err := New(class, config, r.run())
	if steps, ok := errors.AsType[*StepsError](err); ok {
		if r.Steps >= steps.Least && r.Steps <= steps.Most {
			t.Errorf("%s: %d steps are refused with %v", data, r.Steps, err)
		}
		return
	}
	if isConfigError(err) {
		return
	}
	if err != nil || r.Refused != notFinite {
		t.Errorf("%s, %d steps: got %v, but diffusers refuses it: %s", data, r.Steps, err, r.Refused)
		return
	}
	for _, sample := range r.draw(s) {
		if !finite(sample) {
			t.Errorf("%s, %d steps: got %v", data, r.Steps, sample)
		}
	}
}

// run is what is asked of the scheduler.
func (r goldenRun) run() Run { return Run{Steps: r.Steps, Eta: r.Eta, Mu: r.Mu} }

// compare gives the largest difference of a sample; the error is about anything else.
func (r goldenRun) compare(class string, config Config) (float64, error) {
	s, err := New(class, config, r.run())
	if err != nil {
		return 0, err
	}
	if d := worstAt(1, s.Timesteps(), r.Timesteps); d > 1e-6 {
		return 0, fmt.Errorf("timesteps %v, want %v", s.Timesteps(), r.Timesteps)
	}
	if d := worst([]float32{s.InitNoiseSigma()}, []float32{r.InitNoiseSigma}); d > 1e-6 {
		return 0, fmt.Errorf("initial sigma %v, want %v", s.InitNoiseSigma(), r.InitNoiseSigma)
	}
	trail := r.draw(s)
	skip := len(trail) - len(r.Samples)
	most := 0.0
	for i, want := range r.Samples {
		scale := math.Max(largest(trail[skip+i-1]), largest(want))
		most = math.Max(most, worstAt(scale, trail[skip+i], want))
	}
	return most, nil
}

// draw runs a scheduler as the script does, and gives the start and the sample after each
// step.
func (r goldenRun) draw(s Scheduler) [][]float32 {
	noise := newCPUNoise(int64(r.Steps))
	sample := make([]float32, 4)
	noise.Normal(sample)
	begin := r.Begin * s.Order()
	if r.Begin > 0 {
		added := make([]float32, len(sample))
		noise.Normal(added)
		s.AddNoise(begin, sample, added)
	} else {
		for k := range sample {
			sample[k] *= s.InitNoiseSigma()
		}
	}
	return steps(s, begin, sample, noise)
}

// steps takes the sample, in place, to its end, with half the network's input and a
// quarter as what the network predicts. It gives the sample at every timestep and at the
// end.
func steps(s Scheduler, begin int, sample []float32, noise Noise) [][]float32 {
	trail := [][]float32{slices.Clone(sample)}
	prediction := make([]float32, len(sample))
	for i := begin; i < len(s.Timesteps()); i++ {
		s.ScaleModelInput(i, prediction, sample)
		for k, x := range prediction {
			prediction[k] = float32(0.5*x) + 0.25
		}
		s.Step(i, sample, prediction, noise)
		trail = append(trail, slices.Clone(sample))
	}
	return trail
}

// finite says that there is no NaN and no infinity.
func finite(values []float32) bool {
	return !slices.ContainsFunc(values, func(v float32) bool { return v-v != 0 })
}

// worst is the largest difference relative to the wanted value.
func worst(got, want []float32) float64 { return worstAt(0, got, want) }

// worstAt is the largest difference relative to the wanted value, or to scale where that
// is more: a small result of large operands has their rounding error.
func worstAt(scale float64, got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var most float64
	for i := range got {
		d := math.Abs(float64(got[i])-float64(want[i])) / math.Max(math.Abs(float64(want[i])), math.Max(scale, 1e-3))
		most = math.Max(most, d)
		if math.IsNaN(d) {
			return math.Inf(1)
		}
	}
	return most
}

func largest(values []float32) float64 {
	var most float64
	for _, v := range values {
		most = math.Max(most, math.Abs(float64(v)))
	}
	return most
}
