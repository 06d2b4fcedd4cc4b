// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"encoding/json"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/atelier-dev/atelier/internal/diffusion"
)

// layoutCase is the case.json that hack/goldens/layouts.py writes.
type layoutCase struct {
	Prompt   string  `json:"prompt"`
	Negative string  `json:"negative"`
	ClipSkip int     `json:"clip_skip"`
	Guidance float64 `json:"guidance"`
	Steps    int     `json:"steps"`
	Seed     int64   `json:"seed"`
	Width    int     `json:"width"`
	Height   int     `json:"height"`
}

func (c layoutCase) request() Request {
	return Request{
		Prompt: c.Prompt, NegativePrompt: c.Negative, ClipSkip: c.ClipSkip, Steps: c.Steps, GuidanceScale: c.Guidance,
		Seed: c.Seed, Width: c.Width, Height: c.Height, Images: 1,
	}
}

// TestLayoutsEqualPython compares each family and layout with what diffusers computes
// with the same weights in torch: conditioning and the latents after each step within
// 1e-4 of the largest number, pictures within 1 of 255. Of networks in float16, which
// are compared with float32, the bounds are what that type can hold.
func TestLayoutsEqualPython(t *testing.T) {
	for name, bound := range map[string]struct {
		numbers float64
		colours int
	}{"sdxl": {1e-4, 1}, "v2": {1e-4, 1}, "lcm": {1e-4, 1}, "legacy": {1e-4, 1}, "half": {1e-2, 3}} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(goldensDir, "layouts", name)
			files, err := filepath.Glob(filepath.Join(folder, "*", "case.json"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no goldens in %s (%v); run hack/goldens/layouts.py", folder, err)
			}
			p := newPipeline(t)
			if err := p.Load(t.Context(), Model{Name: name, Dir: filepath.Join(folder, "model")}); err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
					compareLayout(t, p, filepath.Dir(file), bound.numbers, bound.colours)
				})
			}
		})
	}
}

func compareLayout(t *testing.T, p *Pipeline, dir string, numbers float64, colours int) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c layoutCase
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	compareSteps(t, p.current(), c, dir, numbers)
	result, err := p.Generate(t.Context(), c.request(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if worst := farthestColour(t, result.Pictures[0], filepath.Join(dir, "picture.png")); worst > colours {
		t.Errorf("colours differ by up to %d, which may be %d", worst, colours)
	}
}

// compareSteps compares conditioning and latents.
func compareSteps(t *testing.T, p parts, c layoutCase, dir string, bound float64) {
	t.Helper()
	plan, err := p.plan(c.request())
	if err != nil {
		t.Fatal(err)
	}
	conditioned, err := p.encode(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "states", conditioned.states.F32, readNumpy(t, filepath.Join(dir, "states.npy")), bound)
	if conditioned.pooled != nil {
		within(t, "pooled", conditioned.pooled.F32, readNumpy(t, filepath.Join(dir, "pooled.npy")), bound)
	}
	scheduler, err := diffusion.New(plan.Scheduler, *p.scheduler, diffusion.Run{Steps: plan.Steps})
	if err != nil {
		t.Fatal(err)
	}
	trail, n := readNumpy(t, filepath.Join(dir, "latents.npy")), plan.latents()
	step := func(i int, latents []float32) {
		within(t, fmt.Sprintf("latents after step %d", i), latents, trail[i*n:(i+1)*n], bound)
	}
	if _, err := newDenoiser(p.unet, plan, conditioned).denoise(t.Context(), scheduler, torchCPU(t, plan.Seed), step); err != nil {
		t.Fatal(err)
	}
}

// within compares numbers within a share of the largest one wanted.
func within(t *testing.T, what string, got, want []float32, bound float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	var largest, worst float64
	for i, w := range want {
		largest = math.Max(largest, math.Abs(float64(w)))
		if d := math.Abs(float64(got[i]) - float64(w)); !(d <= worst) {
			worst = d
		}
	}
	if !(worst <= bound*largest) {
		t.Errorf("%s: off by %.2g of the largest number", what, worst/largest)
	}
	t.Logf("%s: off by %.2g of the largest number", what, worst/largest)
}

// farthestColour gives by how much the colours of a picture differ at most.
func farthestColour(t *testing.T, picture Picture, file string) int {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	want, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	bounds := want.Bounds()
	if bounds != picture.Image.Bounds() {
		t.Fatalf("the picture is %v, want %v", picture.Image.Bounds(), bounds)
	}
	worst := 0
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			r, g, b, _ := want.At(x, y).RGBA()
			at := picture.Image.NRGBAAt(x, y)
			for _, d := range []int{int(r>>8) - int(at.R), int(g>>8) - int(at.G), int(b>>8) - int(at.B)} {
				worst = max(worst, d, -d)
			}
		}
	}
	t.Logf("colours differ by up to %d", worst)
	return worst
}
