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
	"testing"
)

// golden is one configuration in a file of hack/goldens/schedulers.py.
type golden struct {
	Options map[string]any `json:"options"`
	Refused string         `json:"refused"`
	Runs    []goldenRun    `json:"runs"`
}

type goldenRun struct {
	Steps          int         `json:"steps"`
	Begin          int         `json:"begin"`
	Timesteps      []float32   `json:"timesteps"`
	InitNoiseSigma float32     `json:"initNoiseSigma"`
	Samples        [][]float32 `json:"samples"`
}

// sampleBound is the largest difference from diffusers that a sample may have, relative
// to the largest numbers of the step.
const sampleBound = 2e-5

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
			if runs < 50 {
				t.Errorf("only %d runs were compared", runs)
			}
			t.Logf("%d runs, largest relative difference of a sample %.2g", runs, most)
		})
	}
}

// compare gives the largest difference of a sample.
func (g golden) compare(t *testing.T, class string) float64 {
	t.Helper()
	options := maps.Clone(g.Options)
	options["_class_name"] = class
	data, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	config, err := ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	err = Check(class, config)
	var bad *ConfigError
	switch {
	case g.Refused != "":
		if !errors.As(err, &bad) {
			t.Errorf("%s: got %v, but diffusers refuses it: %s", data, err, g.Refused)
		}
		return 0
	case errors.As(err, &bad) && len(g.Runs) == 0:
		return 0 // diffusers notices only in the first steps.
	case errors.As(err, &bad) && bad.Field == "solver_order":
		return 0 // diffusers fails as soon as the order is reached.
	case err != nil:
		t.Errorf("%s: %v", data, err)
		return 0
	}
	most := 0.0
	for _, run := range g.Runs {
		difference, err := run.compare(class, config)
		if err != nil || difference > sampleBound {
			t.Errorf("%s, %d steps from %d: differs by %.2g (%v)", data, run.Steps, run.Begin, difference, err)
		}
		most = math.Max(most, difference)
	}
	return most
}

// compare gives the largest difference of a sample; the error is about anything else.
func (r goldenRun) compare(class string, config Config) (float64, error) {
	s, err := New(class, config, Run{Steps: r.Steps})
	if err != nil {
		return 0, err
	}
	if d := worst(s.Timesteps(), r.Timesteps); d > 1e-6 {
		return 0, fmt.Errorf("timesteps %v, want %v", s.Timesteps(), r.Timesteps)
	}
	if d := worst([]float32{s.InitNoiseSigma()}, []float32{r.InitNoiseSigma}); d > 1e-6 {
		return 0, fmt.Errorf("initial sigma %v, want %v", s.InitNoiseSigma(), r.InitNoiseSigma)
	}
	noise := newCPUNoise(int64(r.Steps))
	sample := make([]float32, 4)
	noise.Normal(sample)
	for k := range sample {
		sample[k] *= s.InitNoiseSigma()
	}
	prediction := make([]float32, len(sample))
	begin := r.Begin * s.Order()
	skip := len(s.Timesteps()) - len(r.Samples)
	most := 0.0
	for i := begin; i < len(s.Timesteps()); i++ {
		scale := largest(sample)
		s.ScaleModelInput(i, prediction, sample)
		for k, x := range prediction {
			prediction[k] = 0.5*x + 0.25
		}
		s.Step(i, sample, prediction, noise)
		if i >= skip {
			most = math.Max(most, worstAt(scale, sample, r.Samples[i-skip]))
		}
	}
	return most, nil
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
