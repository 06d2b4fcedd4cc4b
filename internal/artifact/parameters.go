// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package artifact turns pictures into files: encoding with the parameters of the
// generation inside, and saving that survives a crash at any moment.
package artifact

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Parameters of a generation, as they are written into the picture's file.
type Parameters struct {
	Prompt         string
	NegativePrompt string
	Steps          int
	// Scheduler is a diffusers class name.
	Scheduler     string
	GuidanceScale float64
	Seed          int64
	Width, Height int
	// Model is the name of the model.
	Model string
}

// samplers maps diffusers' scheduler classes to the names that the tools which read the
// metadata know them by.
var samplers = map[string]string{
	"EulerDiscreteScheduler": "Euler",
}

// String formats the parameters as AUTOMATIC1111's web UI does, which is what other
// tools read:
//
//	prompt
//	Negative prompt: …
//	Steps: 20, Sampler: Euler, CFG scale: 7.5, Seed: 1, Size: 512x512, Model: name
func (p Parameters) String() string {
	var b strings.Builder
	b.WriteString(p.Prompt)
	if p.NegativePrompt != "" {
		b.WriteString("\nNegative prompt: ")
		b.WriteString(p.NegativePrompt)
	}
	sampler, ok := samplers[p.Scheduler]
	if !ok {
		sampler = p.Scheduler
	}
	b.WriteByte('\n')
	for i, field := range [][2]string{
		{"Steps", strconv.Itoa(p.Steps)},
		{"Sampler", sampler},
		{"CFG scale", strconv.FormatFloat(p.GuidanceScale, 'g', -1, 64)},
		{"Seed", strconv.FormatInt(p.Seed, 10)},
		{"Size", strconv.Itoa(p.Width) + "x" + strconv.Itoa(p.Height)},
		{"Model", p.Model},
	} {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(field[0] + ": " + quote(field[1]))
	}
	return b.String()
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
