// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"fmt"

	"github.com/atelier-dev/atelier/internal/diffusion"
)

// samplers maps diffusers' scheduler classes to the names that AUTOMATIC1111's web UI, and
// the tools which read its metadata, know them by. DDPM has none there; other tools call
// it so.
var samplers = map[string]string{
	"DDIMScheduler":                   "DDIM",
	"DDPMScheduler":                   "DDPM",
	"EulerAncestralDiscreteScheduler": "Euler a",
	"EulerDiscreteScheduler":          "Euler",
	"FlowMatchEulerDiscreteScheduler": "Euler",
	"HeunDiscreteScheduler":           "Heun",
	"LCMScheduler":                    "LCM",
	"LMSDiscreteScheduler":            "LMS",
	"PNDMScheduler":                   "PLMS",
	"UniPCMultistepScheduler":         "UniPC",
}

// sampler names what a scheduler did. The DPM solvers are several samplers in one class.
// What has no name of its own goes by its class.
func sampler(m diffusion.Method) string {
	if name, ok := samplers[m.Class]; ok {
		return name
	}
	switch {
	case m.Order < 2:
	case m.Class == "DPMSolverMultistepScheduler" && m.Algorithm == "dpmsolver++":
		return fmt.Sprintf("DPM++ %dM", m.Order)
	case m.Class == "DPMSolverMultistepScheduler" && m.Algorithm == "sde-dpmsolver++":
		return fmt.Sprintf("DPM++ %dM SDE", m.Order)
	case m.Class == "DPMSolverSinglestepScheduler" && m.Algorithm == "dpmsolver++":
		return fmt.Sprintf("DPM++ %dS", m.Order)
	}
	return m.Class
}

// scheduleTypes maps diffusers' bent sigmas to the web UI's names.
var scheduleTypes = map[string]string{"karras": "Karras", "exponential": "Exponential", "beta": "Beta"}

// scheduleType names how the noise falls; "" is as the model was trained.
func scheduleType(m diffusion.Method) string { return scheduleTypes[m.Sigmas] }
