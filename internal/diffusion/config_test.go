// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func parse(t *testing.T, options string) Config {
	t.Helper()
	config, err := ParseConfig([]byte(`{"_class_name":"EulerDiscreteScheduler"` + options + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestOptionsAreRefusedByName(t *testing.T) {
	for options, want := range map[string][2]string{
		`,"num_train_timesteps":1`:                                {"num_train_timesteps", "from 2"},
		`,"num_train_timesteps":"1000"`:                           {"num_train_timesteps", "whole number"},
		`,"beta_schedule":"sigmoid"`:                              {"beta_schedule", "linear, scaled_linear, squaredcos_cap_v2"},
		`,"beta_start":0`:                                         {"beta_start", "between 0 and 1"},
		`,"beta_end":1e400`:                                       {"beta_end", "number"},
		`,"prediction_type":"flow"`:                               {"prediction_type", "epsilon, v_prediction, sample"},
		`,"timestep_spacing":"even"`:                              {"timestep_spacing", "linspace, leading, trailing"},
		`,"timestep_type":"continuous"`:                           {"timestep_type", "not supported"},
		`,"interpolation_type":"cubic"`:                           {"interpolation_type", "linear, log_linear"},
		`,"final_sigmas_type":"one"`:                              {"final_sigmas_type", "zero, sigma_min"},
		`,"steps_offset":-1`:                                      {"steps_offset", "from 0"},
		`,"sigma_min":-1`:                                         {"sigma_min", "from 1e-09 to 1e+09"},
		`,"use_karras_sigmas":1`:                                  {"use_karras_sigmas", "true or false"},
		`,"use_beta_sigmas":true`:                                 {"use_beta_sigmas", "not supported"},
		`,"use_karras_sigmas":true,"use_exponential_sigmas":true`: {"use_exponential_sigmas", "together"},
		`,"trained_betas":[0.1]`:                                  {"trained_betas", "from 2"},
		`,"trained_betas":[0.1,2]`:                                {"trained_betas", "number 1 is 2"},
		`,"trained_betas":"` + strings.Repeat("x", 10_000) + `"`:  {"trained_betas", "…"},
		`,"frobnicate":true`:                                      {"frobnicate", "not an option"},
	} {
		_, err := New("EulerDiscreteScheduler", parse(t, options), Run{Steps: 5})
		var bad *ConfigError
		if !errors.As(err, &bad) || bad.Field != want[0] || !strings.Contains(bad.Message, want[1]) || len(bad.Message) > 200 {
			t.Errorf("%.60s: got %v, want %s with %q", options, err, want[0], want[1])
		}
	}
}

// TestOptionsOfOtherSchedulersAreIgnored covers a configuration used with another class.
func TestOptionsOfOtherSchedulersAreIgnored(t *testing.T) {
	config := parse(t, `,"_diffusers_version":"0.42.1","skip_prk_steps":true,"set_alpha_to_one":false,"clip_sample":false,"trained_betas":null,"use_beta_sigmas":false`)
	if _, err := New("EulerDiscreteScheduler", config, Run{Steps: 5}); err != nil {
		t.Error(err)
	}
}

func TestParseConfigRefusesWhatIsNoConfiguration(t *testing.T) {
	for data, want := range map[string]string{"": "", "[]": "", "{}": "_class_name", `{"_class_name":3}`: "_class_name", `{"_class_name":""}`: "_class_name"} {
		_, err := ParseConfig([]byte(data))
		var bad *ConfigError
		if !errors.As(err, &bad) || bad.Field != want {
			t.Errorf("%s: got %v", data, err)
		}
	}
	var bad *ConfigError
	if _, err := New("DreamScheduler", parse(t, ""), Run{Steps: 5}); !errors.As(err, &bad) || !strings.Contains(bad.Message, "EulerDiscreteScheduler") {
		t.Errorf("an unknown class: %v", err)
	}
}

func TestStepsWithinTheTraining(t *testing.T) {
	config := parse(t, `,"num_train_timesteps":10`)
	for steps, ok := range map[int]bool{-1: false, 0: false, 1: true, 10: true, 11: false} {
		_, err := New("EulerDiscreteScheduler", config, Run{Steps: steps})
		var bad *StepsError
		if ok != (err == nil) || err != nil && !errors.As(err, &bad) {
			t.Errorf("%d steps: %v", steps, err)
		}
	}
}

func TestAddNoise(t *testing.T) {
	scheduler, err := New("EulerDiscreteScheduler", parse(t, ""), Run{Steps: 4})
	if err != nil {
		t.Fatal(err)
	}
	sample := []float32{1, 2}
	scheduler.AddNoise(0, sample, []float32{1, -1})
	// The first sigma of the defaults with linspace is the largest: √((1−ᾱ)/ᾱ) at 999.
	if sigma := scheduler.InitNoiseSigma(); sample[0] != 1+sigma || sample[1] != 2-sigma {
		t.Errorf("got %v with sigma %v", sample, sigma)
	}
}

func TestGuide(t *testing.T) {
	uncond, cond := []float32{1, 2}, []float32{3, 1}
	out := make([]float32, 2)
	Guide(out, uncond, cond, 2)
	if out[0] != 5 || out[1] != 0 {
		t.Errorf("got %v", out)
	}
	Guide(uncond, uncond, cond, 1)
	if uncond[0] != 3 || uncond[1] != 1 {
		t.Errorf("in place, with scale 1: %v", uncond)
	}
}

// TestRescaleGuidance compares with numbers from diffusers' rescale_noise_cfg.
func TestRescaleGuidance(t *testing.T) {
	cond := []float32{1, 2, 3, 5}
	for rescale, want := range map[float32][]float32{
		0:   {2, 4, 7, 9},
		1:   {1.098588467, 2.197176933, 3.845059633, 4.943648338},
		0.7: {1.369011879, 2.738023758, 4.791542053, 6.160553932},
	} {
		guided := []float32{2, 4, 7, 9}
		RescaleGuidance(guided, cond, rescale)
		if worst(guided, want) > 1e-6 {
			t.Errorf("%v: got %v, want %v", rescale, guided, want)
		}
	}
}

// TestInfinitiesOfPythonAreRead covers what Python's json module writes for −∞, the
// default of an option of the DPM solvers.
func TestInfinitiesOfPythonAreRead(t *testing.T) {
	config := parse(t, `,"lambda_min_clipped":-Infinity,"_note":"-Infinity \" Infinity"`)
	for _, class := range Classes() {
		if err := Check(class, config); err != nil {
			t.Errorf("%s: %v", class, err)
		}
	}
	var bad *ConfigError
	if err := Check("EulerDiscreteScheduler", parse(t, `,"beta_start":-Infinity`)); !errors.As(err, &bad) || bad.Field != "beta_start" {
		t.Errorf("an infinite beta_start: %v", err)
	}
	if _, err := ParseConfig([]byte(`{"_class_name":"EulerDiscreteScheduler","beta_start":NaN}`)); !errors.As(err, &bad) {
		t.Errorf("NaN: %v", err)
	}
}

func FuzzNew(f *testing.F) {
	f.Add([]byte(`{"_class_name":"EulerDiscreteScheduler","timestep_spacing":"trailing"}`), 61)
	f.Add([]byte(`{"_class_name":"EulerDiscreteScheduler","use_karras_sigmas":true,"sigma_min":1e30,"sigma_max":1e-30}`), 7)
	f.Add([]byte(`{"_class_name":"EulerDiscreteScheduler","num_train_timesteps":99999,"rescale_betas_zero_snr":true,"beta_end":0.999999}`), 1)
	f.Add([]byte(`{"_class_name":"DPMSolverMultistepScheduler","lambda_min_clipped":-Infinity,"solver_order":3,"algorithm_type":"sde-dpmsolver++"}`), 20)
	f.Add([]byte(`{"_class_name":"DPMSolverSinglestepScheduler","solver_order":3,"lower_order_final":true}`), 8)
	f.Add([]byte(`{"_class_name":"UniPCMultistepScheduler","solver_order":3,"disable_corrector":[0]}`), 5)
	f.Add([]byte(`{"_class_name":"EulerAncestralDiscreteScheduler"}`), 4)
	f.Add([]byte(`{"_class_name":"HeunDiscreteScheduler","use_exponential_sigmas":true,"clip_sample":true}`), 3)
	f.Add([]byte(`{"_class_name":"DDIMScheduler","timestep_spacing":"trailing","rescale_betas_zero_snr":true,"prediction_type":"v_prediction"}`), 61)
	f.Add([]byte(`{"_class_name":"DDPMScheduler","variance_type":"fixed_small_log","thresholding":true}`), 1000)
	f.Add([]byte(`{"_class_name":"PNDMScheduler","skip_prk_steps":false,"steps_offset":1}`), 4)
	f.Add([]byte(`{"_class_name":"LMSDiscreteScheduler","use_karras_sigmas":true,"trained_betas":[0.1,0.2,0.3]}`), 5)
	f.Add([]byte(`{"_class_name":"LCMScheduler","original_inference_steps":30,"timestep_scaling":4}`), 30)
	f.Add([]byte(`{"_class_name":"FlowMatchEulerDiscreteScheduler","shift":3,"shift_terminal":0.1,"use_dynamic_shifting":true}`), 28)
	f.Fuzz(func(t *testing.T, data []byte, steps int) {
		config, err := ParseConfig(data)
		if err != nil || !Supported(config.Class()) {
			return
		}
		scheduler, err := New(config.Class(), config, Run{Steps: steps, Eta: 1, Mu: 1})
		if err != nil {
			return
		}
		// Runge and Kutta's steps of PNDM are nine calls more, Heun's twice as many.
		if n := len(scheduler.Timesteps()); n < 1 || n > 2*steps+9 {
			t.Errorf("%d timesteps for %d steps", n, steps)
		}
		sample, input, noise := []float32{1, -1}, make([]float32, 2), newCPUNoise(0)
		for i := range scheduler.Timesteps() {
			scheduler.ScaleModelInput(i, input, sample)
			scheduler.Step(i, sample, []float32{0.5, math.Pi}, noise)
		}
		if !finite(sample) {
			t.Errorf("%d steps end with %v", steps, sample)
		}
	})
}
