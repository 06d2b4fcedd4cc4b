// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/parity"
)

// layoutCase is the case.json that hack/goldens/layouts.py writes.
type layoutCase struct {
	Prompt    string  `json:"prompt"`
	Negative  string  `json:"negative"`
	ClipSkip  int     `json:"clip_skip"`
	Guidance  float64 `json:"guidance"`
	Rescale   float64 `json:"rescale"`
	Eta       float64 `json:"eta"`
	Steps     int     `json:"steps"`
	Seed      int64   `json:"seed"`
	Images    int     `json:"images"`
	Scheduler string  `json:"scheduler"`
	// Strength above 0 begins with the picture source.png.
	Strength float64 `json:"strength"`
	// Tiled says that the VAE works in tiles however small the picture is.
	Tiled  bool `json:"tiled"`
	Width  int  `json:"width"`
	Height int  `json:"height"`
}

func (c layoutCase) request(t *testing.T) Request {
	t.Helper()
	r := Request{
		Prompt: c.Prompt, NegativePrompt: c.Negative, ClipSkip: c.ClipSkip, Steps: c.Steps, GuidanceScale: c.Guidance,
		GuidanceRescale: c.Rescale, Eta: c.Eta, Seed: c.Seed, Scheduler: c.Scheduler, Width: c.Width, Height: c.Height, Images: c.Images,
	}
	if c.Strength > 0 {
		r.Image, r.Strength = readPNG(t, filepath.Join(goldensDir, "layouts", "source.png")), c.Strength
	}
	return r
}

// plan resolves the case's request.
func (c layoutCase) plan(t *testing.T, p parts) plan {
	t.Helper()
	plan, err := p.plan(c.request(t))
	if err != nil {
		t.Fatal(err)
	}
	plan.tiled = c.Tiled
	return plan
}

// TestLayoutsEqualPython compares each family and layout with what diffusers computes
// with the same weights in torch: conditioning and the latents after each step within
// 1e-4 of the largest number, pictures within 1 of 255. Of networks in float16, which
// are compared with float32, the bounds are what that type can hold.
func TestLayoutsEqualPython(t *testing.T) {
	for name, bound := range map[string]float64{
		"sd": parity.Relative, "sdxl": parity.Relative, "v2": parity.Relative, "lcm": parity.Relative, "half": 1e-2,
		"turbo": parity.Relative, "scored": parity.Relative, "older": parity.Relative, "legacy": parity.Relative,
	} {
		t.Run(name, func(t *testing.T) {
			p := loadLayout(t, name)
			files, err := filepath.Glob(filepath.Join(goldensDir, "layouts", name, "*", "case.json"))
			if err != nil || len(files) < 3 {
				t.Fatalf("goldens %v (%v); run hack/goldens/layouts.py", files, err)
			}
			for _, file := range files {
				t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
					compareLayout(t, p, filepath.Dir(file), bound)
				})
			}
		})
	}
}

// loadLayout loads the model of a layout.
func loadLayout(t *testing.T, name string) *Pipeline {
	t.Helper()
	p, model := newPipeline(t), Model{Name: name, Dir: filepath.Join(goldensDir, "layouts", name, "model")}
	about(t, model)
	if err := p.Load(t.Context(), model); err != nil {
		t.Fatal(err)
	}
	return p
}

// about has the figures of a test go to the model's family.
func about(t *testing.T, model Model) {
	t.Helper()
	parity.About(t, "family", fmt.Sprintf("%s (%s)", Inspect(model.Dir).Family, model.Name))
}

// readCase reads the case in a folder.
func readCase(t *testing.T, dir string) layoutCase {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c layoutCase
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func compareLayout(t *testing.T, p *Pipeline, dir string, bound float64) {
	t.Helper()
	c := readCase(t, dir)
	compareSteps(t, p.current(), c.plan(t, p.current()), dir, bound)
	calls, last := 0, image.NewNRGBA(image.Rectangle{})
	plan := c.plan(t, p.current())
	plan.Preview = func(_ int, preview *image.NRGBA) {
		if calls++; calls <= plan.calls { // Of the first picture.
			last = preview
		}
	}
	pictures, err := p.current().generate(t.Context(), plan, nil)
	if err != nil || len(pictures) != c.Images {
		t.Fatalf("%d pictures (%v), want %d", len(pictures), err, c.Images)
	}
	for k, picture := range pictures {
		name := "picture.png"
		if k > 0 {
			name = fmt.Sprintf("picture-%d.png", k)
		}
		parity.Picture(t, name, picture.Image, readPNG(t, filepath.Join(dir, name)))
	}
	if c.Strength > 0 {
		parity.Picture(t, "preview.png", last, readPNG(t, filepath.Join(dir, "preview.png")))
	}
}

// compareSteps compares conditioning and latents.
func compareSteps(t *testing.T, p parts, plan plan, dir string, bound float64) {
	t.Helper()
	conditioned, err := p.encode(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	parity.Numbers(t, parity.Conditioning, "states", conditioned.states.F32, readNumpy(t, filepath.Join(dir, "states.npy")), bound)
	if conditioned.pooled != nil {
		parity.Numbers(t, parity.Conditioning, "pooled", conditioned.pooled.F32, readNumpy(t, filepath.Join(dir, "pooled.npy")), bound)
	}
	begun, err := p.encodeImage(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	scheduler, err := diffusion.New(plan.Scheduler, *p.scheduler, plan.run())
	if err != nil {
		t.Fatal(err)
	}
	trail, n, calls := readNumpy(t, filepath.Join(dir, "latents.npy")), plan.latents(), 0
	step := func(i int, latents []float32) {
		parity.Numbers(t, parity.Latents, fmt.Sprintf("after step %d", i), latents, trail[calls*n:(calls+1)*n], bound)
		calls++
	}
	if _, err := newDenoiser(p.unet, plan, conditioned, begun).denoise(t.Context(), scheduler, torchCPU(t, plan.Seed), step); err != nil {
		t.Fatal(err)
	}
	if calls != len(trail)/n || calls != plan.calls {
		t.Errorf("%d calls where %d were planned, want %d", calls, plan.calls, len(trail)/n)
	}
}

// readPNG reads a picture.
func readPNG(t *testing.T, file string) image.Image {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return picture
}
