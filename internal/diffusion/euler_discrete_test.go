// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// golden is one file of hack/goldens/schedulers.py.
type golden struct {
	Config json.RawMessage `json:"config"`
	Runs   []struct {
		Steps          int         `json:"steps"`
		Timesteps      []float32   `json:"timesteps"`
		InitNoiseSigma float32     `json:"initNoiseSigma"`
		Start          []float32   `json:"start"`
		Samples        [][]float32 `json:"samples"`
	} `json:"runs"`
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

// TestSchedulersEqualDiffusers runs every configuration that diffusers ran, with the same
// stand-in for a network.
func TestSchedulersEqualDiffusers(t *testing.T) {
	files, err := filepath.Glob("../../test/testdata/goldens/scheduler-*/*.json")
	if err != nil || len(files) < 19 {
		t.Fatalf("found %d golden files (%v); run hack/goldens/schedulers.py", len(files), err)
	}
	var worstTimestep, worstSample float64
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var g golden
		if err := json.Unmarshal(data, &g); err != nil {
			t.Fatal(err)
		}
		config, err := ParseConfig(g.Config)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, run := range g.Runs {
			t.Run(fmt.Sprintf("%s/%d", filepath.Base(file), run.Steps), func(t *testing.T) {
				s, err := New(config.Class(), config, Run{Steps: run.Steps})
				if err != nil {
					t.Fatal(err)
				}
				d := worst(s.Timesteps(), run.Timesteps)
				worstTimestep = math.Max(worstTimestep, d)
				if d > 1e-6 {
					t.Errorf("timesteps %v, want %v", s.Timesteps(), run.Timesteps)
				}
				if d := worst([]float32{s.InitNoiseSigma()}, []float32{run.InitNoiseSigma}); d > 1e-6 {
					t.Errorf("initial sigma %v, want %v", s.InitNoiseSigma(), run.InitNoiseSigma)
				}
				sample := append([]float32{}, run.Start...)
				prediction := make([]float32, len(sample))
				skip := len(s.Timesteps()) - len(run.Samples)
				for i := range s.Timesteps() {
					scale := largest(sample)
					s.ScaleModelInput(i, prediction, sample)
					for k, x := range prediction {
						prediction[k] = 0.5*x + 0.25
					}
					s.Step(i, sample, prediction, nil)
					if i < skip {
						continue
					}
					d := worstAt(scale, sample, run.Samples[i-skip])
					worstSample = math.Max(worstSample, d)
					if d > 2e-5 {
						t.Fatalf("after step %d: %v, want %v", i, sample, run.Samples[i-skip])
					}
				}
			})
		}
	}
	t.Logf("worst relative difference: timesteps %.2g, samples %.2g", worstTimestep, worstSample)
}

func largest(values []float32) float64 {
	var most float64
	for _, v := range values {
		most = math.Max(most, math.Abs(float64(v)))
	}
	return most
}
