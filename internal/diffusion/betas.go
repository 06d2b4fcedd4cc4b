// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "math"

// maxTrainSteps bounds the tables; published models have 1000 training steps.
const maxTrainSteps = 100_000

// leastLeft is the least share of the picture that may be left at the end of the
// training. Below, sigmas overflow float32 once they are multiplied with each other.
const leastLeft = 1e-15

// Ways to spread the noise over the training.
const (
	scheduleLinear       = "linear"
	scheduleScaledLinear = "scaled_linear"
	scheduleCosine       = "squaredcos_cap_v2"
	scheduleExp          = "exp"
	scheduleLaplace      = "laplace"
	scheduleSigmoid      = "sigmoid"
)

// zeroSNR is what a class makes of rescale_betas_zero_snr.
type zeroSNR int

const (
	// zeroSNRUnknown ignores the option, as classes do that don't have it.
	zeroSNRUnknown zeroSNR = iota
	// zeroSNRFloored leaves so little of the picture at the last timestep that it is as good
	// as nothing, but sigma stays finite.
	zeroSNRFloored
	// zeroSNRExact leaves nothing.
	zeroSNRExact
)

// trainingOptions says what a class has of the options that describe the training's noise.
type trainingOptions struct {
	// start, end and schedule apply where they are left out.
	start, end float64
	schedule   string
	// schedules beside those that all classes have.
	schedules []string
	zeroSNR   zeroSNR
}

// usualTraining are the options of most classes.
func usualTraining(snr zeroSNR) trainingOptions {
	return trainingOptions{start: 0.0001, end: 0.02, schedule: scheduleLinear, zeroSNR: snr}
}

// training is what every scheduler derives from the noise of the training: float32, as
// in torch, and indexed by training timestep.
type training struct {
	steps int
	// alphasCumprod is the share of the picture that is left at each timestep.
	alphasCumprod []float32
}

// readTraining reads the options that describe the training's noise.
func readTraining(o *options, known trainingOptions) training {
	steps := o.integer("num_train_timesteps", 1000, 2, maxTrainSteps)
	start := o.real("beta_start", known.start, 0, 1)
	end := o.real("beta_end", known.end, 0, 1)
	schedules := append([]string{scheduleLinear, scheduleScaledLinear, scheduleCosine}, known.schedules...)
	schedule := o.choiceOr("beta_schedule", known.schedule, schedules...)
	betas, field := o.betas(), "trained_betas"
	if o.err != nil {
		return training{}
	}
	if betas == nil {
		betas, field = scheduledBetas(schedule, start, end, steps), "beta_schedule"
	}
	rescaled := known.zeroSNR != zeroSNRUnknown && o.flag("rescale_betas_zero_snr")
	if rescaled {
		betas = rescaleZeroTerminalSNR(betas)
	}
	t := training{steps: steps, alphasCumprod: cumprod(complements(betas))}
	t.checkFall(o, field, rescaled)
	if rescaled && known.zeroSNR == zeroSNRFloored {
		t.alphasCumprod[len(betas)-1] = 1.0 / (1 << 24)
	}
	return t
}

// scheduledBetas gives the noise of each training timestep.
func scheduledBetas(schedule string, start, end float64, steps int) []float32 {
	switch schedule {
	case scheduleScaledLinear:
		betas := linspace(math.Sqrt(start), math.Sqrt(end), steps)
		for i, b := range betas {
			betas[i] = b * b
		}
		return betas
	case scheduleSigmoid:
		betas := linspace(-6, 6, steps)
		for i, b := range betas {
			betas[i] = float32(1/(1+exp32(-b))*float32(end-start)) + float32(start)
		}
		return betas
	case scheduleCosine:
		return fallingBetas(steps, cosineLeft)
	case scheduleExp:
		return fallingBetas(steps, func(t float64) float64 { return math.Exp(-12 * t) })
	case scheduleLaplace:
		return fallingBetas(steps, laplaceLeft)
	}
	return linspace(start, end, steps)
}

// checkFall refuses betas that float32 can't do with: so small that a timestep has no
// more noise than the one before, or so large that nothing is left of the picture before
// the end. rescaled says that nothing is to be left at the end.
func (t training) checkFall(o *options, field string, rescaled bool) {
	before := float32(1)
	for i, a := range t.alphasCumprod {
		end := rescaled && i == len(t.alphasCumprod)-1
		switch {
		case !(a < before):
			o.fail(field, "adds no noise that float32 can tell at timestep %d; betas must be larger", i)
			return
		case a < leastLeft && !end:
			o.fail(field, "leaves nothing of the picture at timestep %d; betas must be smaller, or fewer", i)
			return
		}
		before = a
	}
}

// left is the share of the picture that is left at a timestep. −1, which trailing spacing
// can end with, is the last of the training, as Python's indices have it.
func (t training) left(timestep int) float32 {
	if timestep < 0 {
		timestep += len(t.alphasCumprod)
	}
	return t.alphasCumprod[timestep]
}

// check refuses more steps than the training had, or none.
func (t training) check(run Run) error {
	if run.Steps < 1 || run.Steps > t.steps {
		return &StepsError{Steps: run.Steps, Least: 1, Most: t.steps}
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

// fallingBetas makes what is left of the picture follow a function of the training's time
// from 0 to 1.
func fallingBetas(steps int, left func(float64) float64) []float32 {
	const most = 0.999
	betas := make([]float32, steps)
	for i := range betas {
		from, to := float64(i)/float64(steps), float64(i+1)/float64(steps)
		betas[i] = float32(min(1-left(to)/left(from), most))
	}
	return betas
}

// cosineLeft is Glide's schedule, a squared cosine.
func cosineLeft(t float64) float64 {
	c := math.Cos((t + 0.008) / 1.008 * math.Pi / 2)
	return c * c
}

// laplaceLeft spreads the logarithm of the signal-to-noise ratio as Laplace's
// distribution (arXiv:2407.03297).
func laplaceLeft(t float64) float64 {
	logSNR := -0.5 * math.Copysign(1, 0.5-t) * math.Log(1-2*math.Abs(0.5-t)+1e-6)
	snr := math.Exp(logSNR)
	return math.Sqrt(snr / (1 + snr))
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
