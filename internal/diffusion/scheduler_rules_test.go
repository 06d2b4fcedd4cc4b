// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// newScheduler makes a scheduler of a class with options.
func newScheduler(t *testing.T, class, options string, run Run) Scheduler {
	t.Helper()
	s, err := New(class, parse(t, options), run)
	if err != nil {
		t.Fatalf("%s %s: %v", class, options, err)
	}
	return s
}

// TestCallsOfTheNetwork counts them, which progress is measured by.
func TestCallsOfTheNetwork(t *testing.T) {
	for _, c := range []struct {
		class, options      string
		steps, calls, order int
	}{
		{"EulerDiscreteScheduler", "", 50, 50, 1},
		{"EulerDiscreteScheduler", `,"timestep_spacing":"trailing"`, 61, 62, 1},
		{"EulerAncestralDiscreteScheduler", "", 50, 50, 1},
		{"HeunDiscreteScheduler", "", 1, 1, 2},
		{"HeunDiscreteScheduler", "", 50, 99, 2},
		{"DDIMScheduler", "", 50, 50, 1},
		{"DDIMScheduler", `,"timestep_spacing":"trailing"`, 122, 123, 1},
		{"DDPMScheduler", "", 1000, 1000, 1},
		{"PNDMScheduler", `,"skip_prk_steps":true`, 50, 51, 1},
		{"PNDMScheduler", `,"skip_prk_steps":true`, 1, 1, 1},
		{"PNDMScheduler", "", 50, 59, 1},
		{"LMSDiscreteScheduler", "", 50, 50, 1},
		{"LCMScheduler", "", 4, 4, 1},
		{"DPMSolverMultistepScheduler", "", 50, 50, 1},
		{"DPMSolverMultistepScheduler", `,"timestep_spacing":"trailing","lambda_min_clipped":-2`, 50, 32, 1},
		{"DPMSolverSinglestepScheduler", "", 50, 50, 1},
		{"UniPCMultistepScheduler", "", 50, 50, 1},
		{"FlowMatchEulerDiscreteScheduler", "", 28, 28, 1},
	} {
		s := newScheduler(t, c.class, c.options, Run{Steps: c.steps})
		if calls := len(s.Timesteps()); calls != c.calls || s.Order() != c.order {
			t.Errorf("%s %s, %d steps: %d calls in order %d, want %d in order %d", c.class, c.options, c.steps, calls, s.Order(), c.calls, c.order)
		}
	}
}

// counter counts how often noise is drawn.
type counter struct{ draws int }

func (c *counter) Normal([]float32) { c.draws++ }

// TestDrawsOfNoise counts them: one more or less, and every later number of the picture's
// generator is another one.
func TestDrawsOfNoise(t *testing.T) {
	for _, c := range []struct {
		class, options string
		eta            float64
		draws          int
	}{
		{"EulerDiscreteScheduler", "", 1, 0},
		{"EulerAncestralDiscreteScheduler", "", 0, 7},
		{"HeunDiscreteScheduler", "", 0, 0},
		{"DDIMScheduler", "", 0, 0},
		{"DDIMScheduler", "", 0.5, 7},
		{"DDPMScheduler", "", 0, 6},
		{"DDPMScheduler", `,"timestep_spacing":"trailing"`, 0, 7},
		{"PNDMScheduler", "", 0, 0},
		{"LMSDiscreteScheduler", "", 0, 0},
		{"LCMScheduler", "", 0, 6},
		{"DPMSolverMultistepScheduler", "", 0, 0},
		{"DPMSolverMultistepScheduler", `,"algorithm_type":"sde-dpmsolver++"`, 0, 7},
		{"DPMSolverSinglestepScheduler", `,"algorithm_type":"sde-dpmsolver++"`, 0, 7},
		{"UniPCMultistepScheduler", "", 0, 0},
		{"FlowMatchEulerDiscreteScheduler", "", 0, 0},
		{"FlowMatchEulerDiscreteScheduler", `,"stochastic_sampling":true`, 0, 7},
	} {
		s := newScheduler(t, c.class, c.options, Run{Steps: 7, Eta: c.eta})
		noise := &counter{}
		steps(s, 0, []float32{1, -1}, noise)
		if noise.draws != c.draws {
			t.Errorf("%s %s with eta %v: noise is drawn %d times, want %d", c.class, c.options, c.eta, noise.draws, c.draws)
		}
	}
}

// TestNumbersOfSteps covers what each class can't take, with what it can.
func TestNumbersOfSteps(t *testing.T) {
	for _, c := range []struct {
		class, options     string
		steps, least, most int
	}{
		{"LCMScheduler", "", 51, 1, 50},
		{"LCMScheduler", "", 0, 1, 50},
		{"LCMScheduler", `,"original_inference_steps":30`, 50, 1, 30},
		{"PNDMScheduler", "", 3, 4, 1000},
		{"PNDMScheduler", `,"skip_prk_steps":true,"timestep_spacing":"trailing"`, 1001, 1, 1000},
		{"DDIMScheduler", `,"steps_offset":1`, 1000, 1, 999},
		{"DDPMScheduler", `,"steps_offset":100`, 10, 1, 9},
		{"FlowMatchEulerDiscreteScheduler", `,"shift_terminal":0.1`, 1, 2, 1000},
		{"HeunDiscreteScheduler", `,"num_train_timesteps":10`, 11, 1, 10},
	} {
		_, err := New(c.class, parse(t, c.options), Run{Steps: c.steps})
		want := StepsError{Steps: c.steps, Least: c.least, Most: c.most}
		if got, ok := errors.AsType[*StepsError](err); !ok || *got != want {
			t.Errorf("%s %s: got %v, want %v", c.class, c.options, err, &want)
		}
		for _, steps := range []int{c.least, c.most} {
			newScheduler(t, c.class, c.options, Run{Steps: steps})
		}
	}
}

// TestOptionsOfClassesAreRefusedByName covers options that a class can't do, or that lead
// to no number.
func TestOptionsOfClassesAreRefusedByName(t *testing.T) {
	for _, c := range []struct{ class, options, field string }{
		{"EulerAncestralDiscreteScheduler", `,"prediction_type":"sample"`, "prediction_type"},
		{"HeunDiscreteScheduler", `,"use_beta_sigmas":true`, "use_beta_sigmas"},
		{"HeunDiscreteScheduler", `,"beta_schedule":"laplace"`, "beta_schedule"},
		{"HeunDiscreteScheduler", `,"clip_sample_range":0`, "clip_sample_range"},
		{"LMSDiscreteScheduler", `,"use_karras_sigmas":true,"use_exponential_sigmas":true`, "use_exponential_sigmas"},
		{"PNDMScheduler", `,"prediction_type":"sample"`, "prediction_type"},
		{"PNDMScheduler", `,"trained_betas":[0.1,0.2]`, "trained_betas"},
		{"DDIMScheduler", `,"steps_offset":1000`, "steps_offset"},
		{"DDIMScheduler", `,"dynamic_thresholding_ratio":1.1`, "dynamic_thresholding_ratio"},
		{"DDIMScheduler", `,"rescale_betas_zero_snr":true,"timestep_spacing":"trailing"`, "prediction_type"},
		{"DDPMScheduler", `,"variance_type":"learned_range"`, "variance_type"},
		{"DDPMScheduler", `,"variance_type":"fixed_large_log"`, "variance_type"},
		{"LCMScheduler", `,"original_inference_steps":1001`, "original_inference_steps"},
		{"LCMScheduler", `,"timestep_scaling":"ten"`, "timestep_scaling"},
		{"DPMSolverMultistepScheduler", `,"algorithm_type":"sde-dpmsolver","final_sigmas_type":"sigma_min","solver_order":3`, "solver_order"},
		{"DPMSolverMultistepScheduler", `,"algorithm_type":"dpmsolver"`, "final_sigmas_type"},
		{"DPMSolverMultistepScheduler", `,"lambda_min_clipped":100`, "lambda_min_clipped"},
		{"DPMSolverMultistepScheduler", `,"use_flow_sigmas":true`, "use_flow_sigmas"},
		{"DPMSolverMultistepScheduler", `,"variance_type":"learned"`, "variance_type"},
		{"DPMSolverSinglestepScheduler", `,"algorithm_type":"sde-dpmsolver"`, "algorithm_type"},
		{"DPMSolverSinglestepScheduler", `,"algorithm_type":"dpmsolver","final_sigmas_type":"sigma_min","thresholding":true`, "thresholding"},
		{"UniPCMultistepScheduler", `,"predict_x0":false`, "final_sigmas_type"},
		{"UniPCMultistepScheduler", `,"solver_type":"bh1"`, "final_sigmas_type"},
		{"UniPCMultistepScheduler", `,"lower_order_final":false`, "final_sigmas_type"},
		{"UniPCMultistepScheduler", `,"shift_terminal":0.1`, "shift_terminal"},
		{"FlowMatchEulerDiscreteScheduler", `,"use_dynamic_shifting":true`, "use_dynamic_shifting"},
		{"FlowMatchEulerDiscreteScheduler", `,"time_shift_type":"cubic"`, "time_shift_type"},
		{"FlowMatchEulerDiscreteScheduler", `,"shift_terminal":1`, "shift_terminal"},
		{"FlowMatchEulerDiscreteScheduler", `,"shift":0`, "shift"},
	} {
		_, err := New(c.class, parse(t, c.options), Run{Steps: 5})
		if bad, ok := errors.AsType[*ConfigError](err); !ok || bad.Field != c.field {
			t.Errorf("%s %s: got %v, want %s refused", c.class, c.options, err, c.field)
		}
	}
}

// TestNoiseThatFloat32CanNotTell covers betas that no scheduler can do with.
func TestNoiseThatFloat32CanNotTell(t *testing.T) {
	for options, field := range map[string]string{
		`,"trained_betas":[1e-9,0.1]`:                       "trained_betas",
		`,"trained_betas":[0.1,1e-9]`:                       "trained_betas",
		`,"beta_start":0.9,"beta_end":0.9`:                  "beta_schedule",
		`,"num_train_timesteps":100000,"beta_end":0.02`:     "beta_schedule",
		`,"beta_start":1e-12,"beta_end":1e-12`:              "beta_schedule",
		`,"trained_betas":[0.999999,0.999999,0.999999]`:     "trained_betas",
		`,"beta_schedule":"squaredcos_cap_v2","beta_end":1`: "beta_end",
	} {
		for _, class := range Classes() {
			if class == "FlowMatchEulerDiscreteScheduler" {
				continue // It has no betas.
			}
			err := Check(class, parse(t, options))
			if bad, ok := errors.AsType[*ConfigError](err); !ok || bad.Field != field {
				t.Errorf("%s %s: got %v, want %s refused", class, options, err, field)
			}
		}
	}
}

// TestClassesIgnoreWhatTheyDoNotHave covers options that only other classes have.
func TestClassesIgnoreWhatTheyDoNotHave(t *testing.T) {
	for class, option := range map[string]string{
		"HeunDiscreteScheduler":        `"rescale_betas_zero_snr":true,"sigma_min":0.5`,
		"LMSDiscreteScheduler":         `"rescale_betas_zero_snr":true,"final_sigmas_type":"sigma_min"`,
		"PNDMScheduler":                `"rescale_betas_zero_snr":true,"clip_sample":true`,
		"DPMSolverSinglestepScheduler": `"rescale_betas_zero_snr":true,"timestep_spacing":"trailing","steps_offset":7`,
		"DPMSolverMultistepScheduler":  `"variance_type":"fixed_small","clip_sample":true`,
		"UniPCMultistepScheduler":      `"variance_type":"learned"`,
		"LCMScheduler":                 `"timestep_spacing":"trailing","steps_offset":1,"set_alpha_to_one":false`,
	} {
		plain, foreign := newScheduler(t, class, "", Run{Steps: 4}), newScheduler(t, class, ","+option, Run{Steps: 4})
		want := steps(plain, 0, []float32{1, -1}, newCPUNoise(0))
		got := steps(foreign, 0, []float32{1, -1}, newCPUNoise(0))
		if last := len(want) - 1; worst(got[last], want[last]) != 0 {
			t.Errorf("%s: %s makes a difference", class, option)
		}
	}
}

// TestThresholdingScalesByAQuantile compares with torch.quantile's interpolation.
func TestThresholdingScalesByAQuantile(t *testing.T) {
	for ratio, want := range map[float32][]float32{
		0:    {-0.5, 1, 1, -1},                   // The quantile, 0.5, counts as 1.
		1:    {-0.125, 0.25, 0.5, -1},            // 4
		0.5:  {-0.333333333, 0.666666667, 1, -1}, // 1.5
		0.75: {-0.2, 0.4, 0.8, -1},               // 2.5
	} {
		picture := []float32{-0.5, 1, 2, -4}
		clipping{dynamic: true, ratio: ratio, most: 100}.apply(picture)
		if worst(picture, want) > 1e-6 {
			t.Errorf("%v: got %v, want %v", ratio, picture, want)
		}
	}
}

// TestTimestepsOfSigmas compares with diffusers' _sigma_to_t, also where a table does not
// rise: two sigmas of one logarithm, and a last one below the one before.
func TestTimestepsOfSigmas(t *testing.T) {
	next := math.Nextafter32(9, 10)
	for _, c := range []struct {
		table  []float32
		sigmas []float64
		want   []float64
	}{
		{[]float32{1, 10, 100}, []float64{1000, 100, math.Sqrt(1000), 10, 1, 0}, []float64{2, 2, 1.5, 1, 0, 0}},
		{[]float32{8, 9, next, 10}, []float64{9}, []float64{1}},
		{[]float32{9, next, 10}, []float64{1}, []float64{1}},
		{[]float32{1, 10, 1000, 100}, []float64{500, 100, 10}, []float64{2.301029994, 1.5, 1}},
	} {
		for i, got := range sigmaTimesteps(c.table, c.sigmas) {
			if !(math.Abs(got-c.want[i]) < 2e-6) {
				t.Errorf("%v: sigma %v is at %v, want %v", c.table, c.sigmas[i], got, c.want[i])
			}
		}
	}
}

// TestTimestepsThatRepeatChangeNothing covers what rounding can do where steps are as many
// as the training's.
func TestTimestepsThatRepeatChangeNothing(t *testing.T) {
	once, repeated := []float32{9, 4, 2, 1, 0}, []float32{9, 4, 4, 2, 1, 0}
	for name, make := range map[string]func(sigmas []float32) Scheduler{
		"LMS": func(sigmas []float32) Scheduler {
			return &lms{exploding: exploding{prediction: predictEpsilon, timesteps: sigmas[1:], sigmas: sigmas}}
		},
		"DPM multistep": func(sigmas []float32) Scheduler {
			common := levelled{timesteps: sigmas[1:], levels: levels(sigmas)}
			return &dpmMultistep{levelled: common, formula: dpmFormula{algorithm: solverPlus}, prediction: predictEpsilon, order: 1}
		},
		"DPM singlestep": func(sigmas []float32) Scheduler {
			common := levelled{timesteps: sigmas[1:], levels: levels(sigmas)}
			return &dpmSinglestep{
				levelled: common, formula: dpmFormula{algorithm: solverPlus}, prediction: predictEpsilon, order: 1, orders: []int{1, 1, 1, 1, 1},
			}
		},
		"UniPC": func(sigmas []float32) Scheduler {
			common := levelled{timesteps: sigmas[1:], levels: levels(sigmas)}
			return &unipc{levelled: common, prediction: predictEpsilon, picture: true, order: 1, uncorrected: []int{0, 1, 2, 3, 4}}
		},
	} {
		want, got := []float32{1, -1}, []float32{1, -1}
		steps(make(once), 0, want, nil)
		steps(make(repeated), 0, got, nil)
		if worst(got, want) > 1e-6 {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// TestNoiseThatRisesGivesNumbers covers betas whose last timestep, with
// rescale_betas_zero_snr, has less noise than the one before.
func TestNoiseThatRisesGivesNumbers(t *testing.T) {
	const rising = `,"rescale_betas_zero_snr":true,"timestep_spacing":"trailing"`
	for class, options := range map[string][]string{
		"EulerDiscreteScheduler":          {""},
		"EulerAncestralDiscreteScheduler": {""},
		"DPMSolverMultistepScheduler":     {"", `,"algorithm_type":"sde-dpmsolver++"`, `,"algorithm_type":"sde-dpmsolver","final_sigmas_type":"sigma_min"`},
		"UniPCMultistepScheduler":         {""},
	} {
		for _, more := range options {
			s := newScheduler(t, class, rising+more, Run{Steps: 1000})
			if sample := randomRun(rand.New(rand.NewPCG(1, 2)), s); !finite(sample) {
				t.Errorf("%s %s: got %v", class, more, sample)
			}
		}
	}
}

// TestAnyConfigurationGivesNumbers draws configurations at random: a scheduler that is
// made gives finite numbers for finite predictions, wherever it begins.
func TestAnyConfigurationGivesNumbers(t *testing.T) {
	const configurations = 250
	for _, class := range Classes() {
		t.Run(class, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			made := 0
			for range configurations {
				data, err := json.Marshal(randomOptions(random))
				if err != nil {
					t.Fatal(err)
				}
				config, err := ParseConfig(data)
				if err != nil {
					t.Fatal(err)
				}
				run := Run{Steps: randomSteps(random), Eta: float64(random.IntN(3)) / 2, Mu: random.Float64() * 3}
				s, err := New(class, config, run)
				if err != nil {
					continue
				}
				made++
				if sample := randomRun(random, s); !finite(sample) || !finite(s.Timesteps()) {
					t.Errorf("%s with %+v: got %v at the end of %v", data, run, sample, s.Timesteps())
				}
			}
			if made < configurations/10 {
				t.Errorf("only %d of %d configurations are taken", made, configurations)
			}
			t.Logf("%d of %d configurations are taken", made, configurations)
		})
	}
}

// randomSteps are few, any, or all of the training.
func randomSteps(random *rand.Rand) int {
	switch random.IntN(4) {
	case 0:
		return 1 + random.IntN(1000)
	case 1:
		return 1000 - random.IntN(3)
	}
	return 1 + random.IntN(30)
}

// randomRun goes from a step at random to the end, and gives the sample there.
func randomRun(random *rand.Rand, s Scheduler) []float32 {
	noise := newCPUNoise(random.Int64())
	sample, prediction := make([]float32, 4), make([]float32, 4)
	noise.Normal(sample)
	begin := 0
	if n := len(s.Timesteps()) / s.Order(); random.IntN(3) == 0 && n > 0 {
		begin = random.IntN(n) * s.Order()
		noise.Normal(prediction)
		s.AddNoise(begin, sample, prediction)
	} else {
		for k := range sample {
			sample[k] *= s.InitNoiseSigma()
		}
	}
	for i := begin; i < len(s.Timesteps()); i++ {
		s.ScaleModelInput(i, prediction, sample)
		noise.Normal(prediction)
		s.Step(i, sample, prediction, noise)
	}
	return sample
}

// randomOptions gives some of the options that change what is computed, of all classes,
// with values that are usual or at the edge.
func randomOptions(random *rand.Rand) map[string]any {
	options := map[string]any{"_class_name": "EulerDiscreteScheduler"}
	flag := []any{true, false}
	some := map[string][]any{
		"num_train_timesteps":        {2, 3, 10, 100, 1000, 1500},
		"beta_start":                 {1e-5, 0.0001, 0.00085, 0.3},
		"beta_end":                   {1e-5, 0.012, 0.02, 0.5},
		"beta_schedule":              {scheduleLinear, scheduleScaledLinear, scheduleCosine, scheduleExp, scheduleLaplace, scheduleSigmoid},
		"prediction_type":            {predictEpsilon, predictVelocity, predictSample},
		"timestep_spacing":           {spacingLinspace, spacingLeading, spacingTrailing},
		"steps_offset":               {0, 1, 5},
		"rescale_betas_zero_snr":     flag,
		"use_karras_sigmas":          flag,
		"use_exponential_sigmas":     flag,
		"use_lu_lambdas":             flag,
		"sigma_min":                  {1e-9, 0.01, 1.0, 1e9},
		"sigma_max":                  {1e-9, 1.0, 1.0000001, 100.0, 1e9},
		"final_sigmas_type":          {"zero", "sigma_min"},
		"interpolation_type":         {"linear", "log_linear"},
		"clip_sample":                flag,
		"clip_sample_range":          {0.1, 1.0, 1000.0},
		"thresholding":               flag,
		"dynamic_thresholding_ratio": {0, 0.5, 0.995, 1},
		"sample_max_value":           {0.1, 1.0, 10.0},
		"set_alpha_to_one":           flag,
		"variance_type":              {nil, varianceSmall, varianceSmallLog, varianceLarge},
		"skip_prk_steps":             flag,
		"original_inference_steps":   {1, 7, 50, 1000},
		"timestep_scaling":           {1e-9, 10.0, 1e9},
		"solver_order":               {1, 2, 3},
		"algorithm_type":             {solverPlus, solverPlain, solverPlusSDE, solverSDE},
		"solver_type":                {"midpoint", "heun", "bh1", "bh2"},
		"lower_order_final":          flag,
		"euler_at_final":             flag,
		"lambda_min_clipped":         {-20.0, -5.1, 0.0, 2.0},
		"predict_x0":                 flag,
		"disable_corrector":          {[]int{}, []int{0, 2}, []int{-1, 1 << 40}},
		"shift":                      {0.001, 1.0, 3.0, 9999.0},
		"use_dynamic_shifting":       flag,
		"time_shift_type":            {"exponential", "linear"},
		"shift_terminal":             {nil, 0.02, 0.999},
		"invert_sigmas":              flag,
		"stochastic_sampling":        flag,
	}
	for _, field := range slices.Sorted(maps.Keys(some)) {
		// Few at a time, as each may be refused together with another.
		if random.IntN(5) == 0 {
			options[field] = some[field][random.IntN(len(some[field]))]
		}
	}
	return options
}

// TestLargestFloatsAreNoConfiguration covers numbers that JSON has and float32 has not.
func TestLargestFloatsAreNoConfiguration(t *testing.T) {
	data, err := json.Marshal(map[string]any{"_class_name": "LCMScheduler", "timestep_scaling": math.MaxFloat64})
	if err != nil {
		t.Fatal(err)
	}
	config, err := ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	if bad, ok := errors.AsType[*ConfigError](Check("LCMScheduler", config)); !ok || bad.Field != "timestep_scaling" {
		t.Error("the largest float64 is taken for a timestep_scaling")
	}
}
