// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/version"
)

// Parameters of a generation, as they are written into the picture's file.
type Parameters struct {
	Prompt         string
	NegativePrompt string
	Steps          int
	// Method is what the scheduler did.
	Method          diffusion.Method
	GuidanceScale   float64
	GuidanceRescale float64
	// Eta counts for DDIM alone.
	Eta  float64
	Seed int64
	// Generator is whose random numbers the seed drew; "" is the CPU's.
	Generator     diffusion.GeneratorDevice
	Width, Height int
	// Model is the name of the model.
	Model string
	// ClipSkip is how many layers of the text encoder were left out.
	ClipSkip int
	// Strength is how much of a picture to begin with was given up; 0 where there was none.
	Strength float64
}

// String formats the parameters as AUTOMATIC1111's web UI does, which is what other
// tools read, with its names and in its order (create_infotext in its processing.py):
//
//	prompt
//	Negative prompt: …
//	Steps: 20, Sampler: Euler, CFG scale: 7.5, Seed: 1, Size: 512x512, Model: name, …
//
// What is at its default there is left out, as it leaves it out.
func (p Parameters) String() string {
	var b strings.Builder
	b.WriteString(p.Prompt)
	if p.NegativePrompt != "" {
		b.WriteString("\nNegative prompt: ")
		b.WriteString(p.NegativePrompt)
	}
	b.WriteByte('\n')
	first := true
	for _, field := range p.fields() {
		if field.value == "" {
			continue
		}
		if !first {
			b.WriteString(", ")
		}
		b.WriteString(field.name + ": " + quote(field.value))
		first = false
	}
	return b.String()
}

// field is one of the parameters after the prompts; one without value is left out.
type field struct{ name, value string }

// fields are the parameters after the prompts.
func (p Parameters) fields() []field {
	return []field{
		{"Steps", strconv.Itoa(p.Steps)},
		{"Sampler", sampler(p.Method)},
		{"Schedule type", scheduleType(p.Method)},
		{"CFG scale", number(p.GuidanceScale)},
		{"Seed", strconv.FormatInt(p.Seed, 10)},
		{"Size", strconv.Itoa(p.Width) + "x" + strconv.Itoa(p.Height)},
		{"Model", p.Model},
		{"Denoising strength", unless(0, p.Strength)},
		{"Clip skip", p.clipSkip()},
		{"RNG", p.rng()},
		{"Eta DDIM", p.eta()},
		// Not of the web UI itself but of its CFG Rescale extension.
		{"CFG Rescale", unless(0, p.GuidanceRescale)},
		{"Version", "Atelier " + version.Version},
	}
}

// clipSkip counts from 1, which is no layer left out.
func (p Parameters) clipSkip() string {
	if p.ClipSkip == 0 {
		return ""
	}
	return strconv.Itoa(p.ClipSkip + 1)
}

// rng is where the web UI is to draw the same numbers from: CPU is torch's on the CPU, NV
// those of NVIDIA's cards without the card. Its default, GPU, would depend on its card.
func (p Parameters) rng() string {
	if p.Generator == diffusion.GeneratorCUDA {
		return "NV"
	}
	return "CPU"
}

func (p Parameters) eta() string {
	if p.Method.Class != "DDIMScheduler" {
		return ""
	}
	return unless(0, p.Eta)
}

// number writes a number in as few digits as tell it.
func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// unless writes a number, or nothing where it is the one that goes without saying.
func unless(silent, v float64) string {
	if v == silent {
		return ""
	}
	return number(v)
}

// quote writes values that would break the list apart as JSON strings, as the web UI does.
func quote(value string) string {
	if !strings.ContainsAny(value, ",\n:") {
		return value
	}
	quoted, err := json.Marshal(value)
	if err != nil {
		return value
	}
	return string(quoted)
}
