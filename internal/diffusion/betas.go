// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "math"

// maxTrainSteps bounds the tables; published models have 1000 training steps.
const maxTrainSteps = 100_000

// training is what every scheduler derives from the noise of the training: float32, as
// in torch, and indexed by training timestep.
type training struct {
	steps int
	// alphasCumprod is the share of the picture that is left at each timestep.
	alphasCumprod []float32
}

// readTraining reads the options that describe the training's noise.
func readTraining(o *options) training {
	steps := o.integer("num_train_timesteps", 1000, 2, maxTrainSteps)
	start := o.real("beta_start", 0.0001, 0, 1)
	end := o.real("beta_end", 0.02, 0, 1)
	schedule := o.choice("beta_schedule", "linear", "scaled_linear", "squaredcos_cap_v2")
	zeroSNR := o.flag("rescale_betas_zero_snr")
	var betas []float32
	switch given := o.betas(); {
	case o.err != nil:
		return training{}
	case given != nil:
		betas = given
	case schedule == "scaled_linear":
		betas = linspace(math.Sqrt(start), math.Sqrt(end), steps)
		for i, b := range betas {
			betas[i] = b * b
		}
	case schedule == "squaredcos_cap_v2":
		betas = cosineBetas(steps)
	default:
		betas = linspace(start, end, steps)
	}
	if zeroSNR {
		betas = rescaleZeroTerminalSNR(betas)
	}
	t := training{steps: steps, alphasCumprod: cumprod(complements(betas))}
	if zeroSNR {
		// As good as nothing is left of the picture, but sigma stays finite.
		t.alphasCumprod[len(betas)-1] = 1.0 / (1 << 24)
	}
	return t
}

// check refuses more steps than the training had, or none.
func (t training) check(run Run) error {
	if run.Steps < 1 || run.Steps > t.steps {
		return &StepsError{Steps: run.Steps, Most: t.steps}
	}
	return nil
}

// betas reads betas that are given one by one, in place of a schedule.
func (o *options) betas() []float32 {
	const field = "trained_betas"
	var given []float32
	if !o.read(field, &given, "a list of numbers or null") {
		return nil
	}
	if len(given) < 2 || len(given) > maxTrainSteps {
		o.fail(field, "has %d numbers; must have from 2 to %d", len(given), maxTrainSteps)
	}
	for i, b := range given {
		if !(b > 0 && b < 1) {
			o.fail(field, "number %d is %v; must be between 0 and 1", i, b)
		}
	}
	return given
}

// linspace is torch.linspace in float32: from both ends to the middle, each number with
// one rounding.
func linspace(start, end float64, n int) []float32 {
	s, e := float32(start), float32(end)
	out := make([]float32, n)
	if n == 1 {
		out[0] = s
		return out
	}
	step := (e - s) / float32(n-1)
	for i := range out {
		if i < n/2 {
			out[i] = float32(float64(s) + float64(step)*float64(i))
		} else {
			out[i] = float32(float64(e) - float64(step)*float64(n-1-i))
		}
	}
	return out
}

// cosineBetas is Glide's schedule: what is left of the picture follows a squared cosine.
func cosineBetas(steps int) []float32 {
	const most = 0.999
	left := func(t float64) float64 {
		c := math.Cos((t + 0.008) / 1.008 * math.Pi / 2)
		return c * c
	}
	betas := make([]float32, steps)
	for i := range betas {
		from, to := float64(i)/float64(steps), float64(i+1)/float64(steps)
		betas[i] = float32(min(1-left(to)/left(from), most))
	}
	return betas
}

// rescaleZeroTerminalSNR shifts and scales the betas so that nothing is left of the
// picture at the last timestep (algorithm 1 of arXiv:2305.08891).
func rescaleZeroTerminalSNR(betas []float32) []float32 {
	root := cumprod(complements(betas))
	for i, a := range root {
		root[i] = sqrt32(a)
	}
	first, last := root[0], root[len(root)-1]
	scale := first / (first - last)
	for i, r := range root {
		root[i] = (r - last) * scale
	}
	out := make([]float32, len(betas))
	previous := float32(1)
	for i, r := range root {
		squared := r * r
		alpha := squared / previous
		out[i] = 1 - alpha
		previous = squared
	}
	return out
}

// complements gives 1−x for each x.
func complements(values []float32) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = 1 - v
	}
	return out
}

// cumprod is torch.cumprod: float32 results of a float64 running product.
func cumprod(values []float32) []float32 {
	out := make([]float32, len(values))
	product := 1.0
	for i, v := range values {
		product *= float64(v)
		out[i] = float32(product)
	}
	return out
}

func sqrt32(v float32) float32 { return float32(math.Sqrt(float64(v))) }
