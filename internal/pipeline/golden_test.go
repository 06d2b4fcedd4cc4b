// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/parity"
)

const (
	modelsDir  = "../../test/testdata/models"
	goldensDir = "../../test/testdata/goldens"
	tiny       = "tiny"
)

// goldenCase is the case.json that hack/goldens/golden.py writes.
type goldenCase struct {
	Prompt         string    `json:"prompt"`
	Negative       string    `json:"negative"`
	Steps          int       `json:"steps"`
	Guidance       float64   `json:"guidance"`
	Seed           int64     `json:"seed"`
	Count          int       `json:"count"`
	Width          int       `json:"width"`
	Height         int       `json:"height"`
	IDs            []int64   `json:"ids"`
	NegativeIDs    []int64   `json:"negative_ids"`
	Timesteps      []float32 `json:"timesteps"`
	InitNoiseSigma float32   `json:"init_noise_sigma"`
}

func (g goldenCase) request() Request {
	return Request{
		Prompt: g.Prompt, NegativePrompt: g.Negative, Steps: g.Steps, GuidanceScale: g.Guidance, Seed: g.Seed,
		Width: g.Width, Height: g.Height, Images: g.Count,
	}
}

// newPipeline makes an idle pipeline over the real ONNX Runtime, on the CPU.
func newPipeline(t testing.TB) *Pipeline {
	t.Helper()
	p := New(ort.New(ort.Options{Device: ort.CPU}))
	t.Cleanup(func() {
		if err := p.Unload(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// testModel is a model of testdata.
func testModel(t testing.TB, name string) Model {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(modelsDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return Model{Name: name, Dir: dir}
}

// loadTest makes a pipeline with a model of testdata loaded.
func loadTest(t testing.TB, name string) *Pipeline {
	t.Helper()
	p := newPipeline(t)
	if err := p.Load(t.Context(), testModel(t, name)); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPicturesEqualPython draws every golden case of every model and compares it with what
// diffusers' parts and ONNX Runtime made in Python of the same files, and where the
// numbers are stored, conditioning, noise and latents after each step.
func TestPicturesEqualPython(t *testing.T) {
	for _, model := range []string{tiny, "fluent-emoji"} {
		t.Run(model, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(goldensDir, model, "*", "case.json"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no goldens for %s (%v); run hack/goldens/golden.py", model, err)
			}
			about(t, testModel(t, model))
			p := loadTest(t, model)
			for _, file := range files {
				t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
					data, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					var golden goldenCase
					if err := json.Unmarshal(data, &golden); err != nil {
						t.Fatal(err)
					}
					compareCase(t, p, golden, filepath.Dir(file))
				})
			}
		})
	}
}

func compareCase(t *testing.T, p *Pipeline, golden goldenCase, dir string) {
	for text, want := range map[string][]int64{golden.Prompt: golden.IDs, golden.Negative: golden.NegativeIDs} {
		if ids, _, _ := p.current().tokenizer.Encode(text); !slices.Equal(ids, want) {
			t.Errorf("ids of %q are %v, want %v", text, ids, want)
		}
	}
	calls := -1 // As the first word is that nothing is done.
	result, err := p.Generate(t.Context(), golden.request(), func(done, total int) {
		calls++
		if done != calls || total != len(golden.Timesteps)*golden.Count {
			t.Errorf("observed %d of %d, want %d of %d", done, total, calls, len(golden.Timesteps)*golden.Count)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	pictures := result.Pictures
	if len(pictures) != golden.Count || calls != len(golden.Timesteps)*golden.Count {
		t.Fatalf("%d pictures after %d calls, want %d after %d", len(pictures), calls, golden.Count, len(golden.Timesteps)*golden.Count)
	}
	for k, picture := range pictures {
		if picture.Index != k || picture.Seed != golden.Seed+int64(k) {
			t.Errorf("picture %d has index %d and seed %d", k, picture.Index, picture.Seed)
		}
		name := "picture.png"
		if k > 0 {
			name = fmt.Sprintf("picture-%d.png", k)
		}
		parity.Picture(t, name, picture.Image, readPNG(t, filepath.Join(dir, name)))
	}
	if _, err := os.Stat(filepath.Join(dir, "latents.npy")); err == nil {
		compareNumbers(t, p.current(), golden, dir)
	}
}

// compareNumbers compares conditioning, noise and the latents after each step.
func compareNumbers(t *testing.T, p parts, golden goldenCase, dir string) {
	plan, err := p.plan(golden.request())
	if err != nil {
		t.Fatal(err)
	}
	conditioned, err := p.encode(context.Background(), plan)
	if err != nil {
		t.Fatal(err)
	}
	parity.Numbers(t, parity.Conditioning, "states", conditioned.states.F32, readNumpy(t, filepath.Join(dir, "states.npy")), parity.Relative)
	scheduler, err := diffusion.New(plan.Scheduler, *p.scheduler, diffusion.Run{Steps: plan.Steps})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "timesteps", scheduler.Timesteps(), golden.Timesteps)
	near(t, "initial sigma", []float32{scheduler.InitNoiseSigma()}, []float32{golden.InitNoiseSigma})
	noise := make([]float32, plan.latents())
	torchCPU(t, plan.Seed).Normal(noise)
	near(t, "noise", noise, readNumpy(t, filepath.Join(dir, "noise.npy")))

	trail := readNumpy(t, filepath.Join(dir, "latents.npy"))
	n := plan.latents()
	latents, err := newDenoiser(p.unet, plan, conditioned, nil).denoise(context.Background(), scheduler, torchCPU(t, plan.Seed), func(i int, latents []float32) {
		parity.Numbers(t, parity.Latents, fmt.Sprintf("after step %d", i), latents, trail[(i+1)*n:(i+2)*n], parity.Relative)
	})
	if err != nil {
		t.Fatal(err)
	}
	canvas := p.newDecoder(plan)
	if _, err := canvas.decode(context.Background(), latents); err != nil {
		t.Fatal(err)
	}
	parity.Numbers(t, parity.Decoded, "", canvas.pixels.F32, readNumpy(t, filepath.Join(dir, "decoded.npy")), parity.Relative)
}

// torchCPU is the generator that the goldens were drawn with.
func torchCPU(t *testing.T, seed int64) diffusion.Noise {
	t.Helper()
	noise, err := diffusion.NewGenerator(diffusion.GeneratorCPU, seed)
	if err != nil {
		t.Fatal(err)
	}
	return noise
}

// near compares within 1e-4 of the largest number wanted.
func near(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if d := parity.Distance(got, want); !(d <= parity.Relative) {
		t.Errorf("%s: off by %.2g of the largest number", what, d)
	}
}
