// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"math"
	"slices"
	"sort"
)

// dpmSchedule is how the DPM solvers and UniPC pick timesteps and sigmas: whole
// timesteps, and the ends of the training's sigmas for the bent schedules.
type dpmSchedule struct {
	train       training
	spacing     string
	offset      int
	cosine      bool
	karras      bool
	exponential bool
	lu          bool
	endAtLeast  bool
	// least and most override the ends of karras and exponential.
	least, most *float64
	// clipped is the smallest logarithmic signal-to-noise ratio that is used.
	clipped float64
	// roundAll rounds the timesteps of bent schedules for the cosine training too.
	roundAll bool
}

// readDPMSchedule reads the options that DPMSolverMultistepScheduler and
// UniPCMultistepScheduler have in common.
func readDPMSchedule(o *options) dpmSchedule {
	s := readDPMSigmas(o)
	s.spacing = o.choice("timestep_spacing", spacingLinspace, spacingLeading, spacingTrailing)
	s.offset = o.integer("steps_offset", 0, 0, maxTrainSteps)
	return s
}

// readDPMSigmas reads what DPMSolverSinglestepScheduler has of them too.
func readDPMSigmas(o *options) dpmSchedule {
	s := dpmSchedule{
		train:       readTraining(o),
		spacing:     spacingLinspace,
		cosine:      o.text("beta_schedule", "linear") == "squaredcos_cap_v2",
		karras:      o.flag("use_karras_sigmas"),
		exponential: o.flag("use_exponential_sigmas"),
		endAtLeast:  o.choice("final_sigmas_type", "zero", "sigma_min") == "sigma_min",
		clipped:     math.Inf(-1),
	}
	if s.karras && s.exponential {
		o.fail("use_exponential_sigmas", "can't be true together with use_karras_sigmas")
	}
	o.refuse("use_beta_sigmas", false)
	o.refuse("use_flow_sigmas", false)
	o.refuse("thresholding", false)
	o.refuse("variance_type", nil)
	return s
}

// readClipping reads the smallest logarithmic signal-to-noise ratio, by default −∞.
func (s *dpmSchedule) readClipping(o *options) {
	// Python writes −∞, the default, as no JSON number; ParseConfig makes a string of it.
	const field = "lambda_min_clipped"
	if o.is(field, "-Infinity") {
		return
	}
	var clipped float64
	if o.read(field, &clipped, "a number or -Infinity") {
		s.clipped = clipped
	}
}

// run gives the whole timesteps of a run and, one more, its sigmas.
func (s dpmSchedule) run(steps int) (timesteps []float32, sigmas []float32) {
	table := s.train.sigmas()
	whole := s.timesteps(steps)
	var bent []float64
	most, least := override(s.most, float64(table[len(table)-1])), override(s.least, float64(table[0]))
	switch {
	case s.karras:
		bent = karrasSigmas(most, least, steps)
	case s.lu:
		bent = luSigmas(most, least, steps)
	case s.exponential:
		bent = exponentialSigmas(most, least, steps)
	}
	values := bent
	if bent == nil {
		values = interpolate(table, whole)
	} else {
		whole = s.wholeTimesteps(sigmaTimesteps(table, bent))
	}
	last := float32(0)
	if s.endAtLeast {
		last = table[0]
	}
	return toFloat32(whole), append(toFloat32(values), last)
}

// wholeTimesteps rounds what belongs to bent sigmas; where diffusers does not round, its
// conversion to integers cuts off.
func (s dpmSchedule) wholeTimesteps(timesteps []float64) []float64 {
	round := math.Trunc
	if s.roundAll && s.karras || !s.roundAll && (s.karras || s.lu) && !s.cosine {
		round = math.RoundToEven
	}
	for i, t := range timesteps {
		timesteps[i] = round(t)
	}
	return timesteps
}

// timesteps spaces one timestep more than there are steps and leaves out the last, which
// the end at sigma 0 stands for; trailing spacing has none to leave out.
func (s dpmSchedule) timesteps(steps int) []float64 {
	last := s.lastTimestep()
	switch s.spacing {
	case spacingLeading:
		return leadingTimesteps(last/(steps+1), steps+1, s.offset)[:steps]
	case spacingTrailing:
		return trailingFrom(last, float64(s.train.steps)/float64(steps))
	}
	out := make([]float64, steps)
	for i := range out {
		out[i] = math.RoundToEven(float64(steps-i) * (float64(last-1) / float64(steps)))
	}
	return out
}

// lastTimestep is the number of training timesteps that clipping leaves.
func (s dpmSchedule) lastTimestep() int {
	ratios := make([]float64, len(s.train.alphasCumprod))
	for i, a := range s.train.alphasCumprod {
		// From the last timestep down, so that the ratios rise.
		ratios[len(ratios)-1-i] = float64(log32(sqrt32(a)) - log32(sqrt32(1-a)))
	}
	return len(ratios) - sort.SearchFloat64s(ratios, s.clipped)
}

// luSigmas falls in equal parts of the logarithm, computed as Lu's schedule with ρ = 1
// (section 5 of arXiv:2206.00927).
func luSigmas(most, least float64, steps int) []float64 {
	from, to := float64(log32(float32(most))), float64(log32(float32(least)))
	out := ramp(steps)
	for i, r := range out {
		out[i] = math.Exp(from + float64(r*(to-from)))
	}
	return out
}

// level is a point on the way from noise to picture: a sample there is alpha parts of
// picture and sigma parts of noise, and lambda is log(alpha/sigma), all in float32.
type level struct{ alpha, sigma, lambda float32 }

// levelOf is the level at a ratio sigma of noise to picture.
func levelOf(sigma float32) level {
	alpha := 1 / sqrt32(float32(sigma*sigma)+1)
	noise := sigma * alpha
	return level{alpha, noise, log32(alpha) - log32(noise)}
}

// levels gives the level of each sigma.
func levels(sigmas []float32) []level {
	out := make([]level, 0, len(sigmas))
	for _, s := range sigmas {
		out = append(out, levelOf(s))
	}
	return out
}

// original gives the picture that the prediction implies, in a new slice.
func (l level) original(kind string, sample, prediction []float32) []float32 {
	if kind == predictSample {
		return slices.Clone(prediction)
	}
	out := make([]float32, len(sample))
	for k, x := range sample {
		if kind == predictVelocity {
			out[k] = float32(l.alpha*x) - float32(l.sigma*prediction[k])
			continue
		}
		out[k] = (x - float32(l.sigma*prediction[k])) / l.alpha
	}
	return out
}

// noise gives the noise that the prediction implies, in a new slice.
func (l level) noise(kind string, sample, prediction []float32) []float32 {
	if kind == predictEpsilon {
		return slices.Clone(prediction)
	}
	out := make([]float32, len(sample))
	for k, x := range sample {
		if kind == predictVelocity {
			out[k] = float32(l.alpha*prediction[k]) + float32(l.sigma*x)
			continue
		}
		out[k] = (x - float32(l.alpha*prediction[k])) / l.sigma
	}
	return out
}

// add brings an original picture to the level, in place.
func (l level) add(original, noise []float32) {
	for k, n := range noise {
		original[k] = float32(l.alpha*original[k]) + float32(l.sigma*n)
	}
}

func log32(v float32) float32 { return float32(math.Log(float64(v))) }

func exp32(v float32) float32 { return float32(math.Exp(float64(v))) }
