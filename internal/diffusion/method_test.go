// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "testing"

// TestMethodOf reads one configuration as several classes: each has its own options.
func TestMethodOf(t *testing.T) {
	const bent = `{"_class_name":"EulerDiscreteScheduler","use_karras_sigmas":true,"algorithm_type":"sde-dpmsolver++","solver_order":3}`
	for _, c := range []struct {
		class, config string
		want          Method
	}{
		{"EulerDiscreteScheduler", bent, Method{Class: "EulerDiscreteScheduler", Sigmas: "karras"}},
		{"DPMSolverMultistepScheduler", bent, Method{Class: "DPMSolverMultistepScheduler", Algorithm: "sde-dpmsolver++", Order: 3, Sigmas: "karras"}},
		{"UniPCMultistepScheduler", `{"_class_name":"X","use_exponential_sigmas":true}`, Method{Class: "UniPCMultistepScheduler", Order: 2, Sigmas: "exponential"}},
		{"DPMSolverMultistepScheduler", `{"_class_name":"X"}`, Method{Class: "DPMSolverMultistepScheduler", Algorithm: "dpmsolver++", Order: 2}},
		{"DDIMScheduler", bent, Method{Class: "DDIMScheduler", ClipsUnasked: true}},
		{"DDIMScheduler", `{"_class_name":"X","clip_sample":false}`, Method{Class: "DDIMScheduler"}},
		{"DDPMScheduler", `{"_class_name":"X","clip_sample":true}`, Method{Class: "DDPMScheduler"}},
		{"HeunDiscreteScheduler", `{"_class_name":"X"}`, Method{Class: "HeunDiscreteScheduler"}},
		{"NoSuchScheduler", bent, Method{Class: "NoSuchScheduler"}},
	} {
		config, err := ParseConfig([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		if got := MethodOf(c.class, config); got != c.want {
			t.Errorf("%s of %s: got %+v, want %+v", c.class, c.config, got, c.want)
		}
	}
}
