// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"fmt"
	"testing"

	"github.com/atelier-dev/atelier/internal/diffusion"
)

var example = Parameters{
	Prompt: "a red apple", NegativePrompt: "blurry", Steps: 20, Method: diffusion.Method{Class: "EulerDiscreteScheduler"},
	GuidanceScale: 7.5, Seed: 42, Width: 512, Height: 768, Model: "fluent-emoji",
}

func TestParametersAsTheWebUIWritesThem(t *testing.T) {
	quoted := example
	quoted.NegativePrompt, quoted.Method, quoted.Model, quoted.GuidanceScale = "", diffusion.Method{Class: "NewScheduler"}, `models: a, "b"`, 7
	full := example
	full.Method = diffusion.Method{Class: "DDIMScheduler", Sigmas: "karras"}
	full.Strength, full.ClipSkip, full.Generator, full.Eta, full.GuidanceRescale = 0.75, 1, diffusion.GeneratorCUDA, 0.5, 0.7
	noEta := example
	noEta.Eta = 0.5 // Which Euler takes no notice of.
	const plain = "a red apple\nNegative prompt: blurry\nSteps: 20, Sampler: Euler, CFG scale: 7.5, Seed: 42, Size: 512x768, Model: fluent-emoji, RNG: CPU, Version: Atelier dev"
	for _, c := range []struct {
		parameters Parameters
		want       string
	}{
		{example, plain},
		{noEta, plain},
		{quoted, "a red apple\nSteps: 20, Sampler: NewScheduler, CFG scale: 7, Seed: 42, Size: 512x768, Model: " + `"models: a, \"b\"", RNG: CPU, Version: Atelier dev`},
		{full, "a red apple\nNegative prompt: blurry\nSteps: 20, Sampler: DDIM, Schedule type: Karras, CFG scale: 7.5, Seed: 42, Size: 512x768, " +
			"Model: fluent-emoji, Denoising strength: 0.75, Clip skip: 2, RNG: NV, Eta DDIM: 0.5, CFG Rescale: 0.7, Version: Atelier dev"},
	} {
		if got := c.parameters.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestSamplers spells the names as the web UI's lists of samplers have them.
func TestSamplers(t *testing.T) {
	for method, want := range map[diffusion.Method]string{
		{Class: "DPMSolverMultistepScheduler", Algorithm: "dpmsolver++", Order: 2}:      "DPM++ 2M",
		{Class: "DPMSolverMultistepScheduler", Algorithm: "dpmsolver++", Order: 3}:      "DPM++ 3M",
		{Class: "DPMSolverMultistepScheduler", Algorithm: "sde-dpmsolver++", Order: 2}:  "DPM++ 2M SDE",
		{Class: "DPMSolverMultistepScheduler", Algorithm: "sde-dpmsolver++", Order: 3}:  "DPM++ 3M SDE",
		{Class: "DPMSolverMultistepScheduler", Algorithm: "dpmsolver", Order: 2}:        "DPMSolverMultistepScheduler",
		{Class: "DPMSolverMultistepScheduler", Algorithm: "dpmsolver++", Order: 1}:      "DPMSolverMultistepScheduler",
		{Class: "DPMSolverSinglestepScheduler", Algorithm: "dpmsolver++", Order: 2}:     "DPM++ 2S",
		{Class: "DPMSolverSinglestepScheduler", Algorithm: "sde-dpmsolver++", Order: 2}: "DPMSolverSinglestepScheduler",
		{Class: "UniPCMultistepScheduler", Order: 2}:                                    "UniPC",
		{Class: "EulerAncestralDiscreteScheduler"}:                                      "Euler a",
		{Class: "PNDMScheduler"}:                          "PLMS",
		{Class: "LMSDiscreteScheduler", Sigmas: "karras"}: "LMS",
	} {
		if got := sampler(method); got != want {
			t.Errorf("%+v is called %q, want %q", method, got, want)
		}
	}
}

// TestEveryClassHasASampler sees to it that a new scheduler gets its name.
func TestEveryClassHasASampler(t *testing.T) {
	for _, class := range diffusion.Classes() {
		config, err := diffusion.ParseConfig([]byte(`{"_class_name":"` + class + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		if name := sampler(diffusion.MethodOf(class, config)); name == class {
			t.Errorf("%s has no name that other tools know", class)
		}
	}
}

func ExampleParameters_String() {
	euler := diffusion.Method{Class: "EulerDiscreteScheduler", Sigmas: "karras"}
	fmt.Println(Parameters{Prompt: "a cat", Steps: 4, Method: euler, GuidanceScale: 1, Seed: 7, Width: 64, Height: 64, Model: "tiny"})
	// Output:
	// a cat
	// Steps: 4, Sampler: Euler, Schedule type: Karras, CFG scale: 1, Seed: 7, Size: 64x64, Model: tiny, RNG: CPU, Version: Atelier dev
}
