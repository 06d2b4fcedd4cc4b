// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"math"
	"sort"
)

// dpmSchedule is how the DPM solvers and UniPC pick timesteps and sigmas: whole
// timesteps, and the ends of the training's sigmas for the bent schedules.
type dpmSchedule struct {
	train   training
	spacing string
	offset  int
	cosine  bool
	bending bending
	// lu falls in equal parts of the logarithm.
	lu         bool
	endAtLeast bool
	// clipped is the smallest logarithmic signal-to-noise ratio that is used.
	clipped float64
	// endAtBent ends with the least of bent sigmas where endAtLeast is true.
	endAtBent bool
	// roundAll rounds the timesteps of bent schedules for the cosine training too.
	roundAll bool
}

// readDPMSchedule reads the options that DPMSolverMultistepScheduler and
// UniPCMultistepScheduler have in common.
func readDPMSchedule(o *options) dpmSchedule {
	s := readDPMSigmas(o, zeroSNRFloored)
	s.spacing = o.choice(fieldSpacing, spacingLinspace, spacingLeading, spacingTrailing)
	s.offset = o.integer("steps_offset", 0, 0, maxTrainSteps)
	return s
}

// readDPMSigmas reads what DPMSolverSinglestepScheduler has of them too.
func readDPMSigmas(o *options, snr zeroSNR) dpmSchedule {
	s := dpmSchedule{
		train:      readTraining(o, usualTraining(snr)),
		spacing:    spacingLinspace,
		cosine:     o.text("beta_schedule", scheduleLinear) == scheduleCosine,
		bending:    readBending(o),
		endAtLeast: readEndsAtLeast(o),
		clipped:    math.Inf(-1),
	}
	o.refuse("use_flow_sigmas", false)
	return s
}

// readClipping reads the smallest logarithmic signal-to-noise ratio, by default −∞.
func (s *dpmSchedule) readClipping(o *options) {
	// Python writes −∞, the default, as no JSON number; ParseConfig makes a string of it.
	const field = "lambda_min_clipped"
	if o.is(field, "-Infinity") {
		return
	}
	if o.read(field, &s.clipped, "a number or -Infinity") && o.err == nil && s.lastTimestep() < 1 {
		o.fail(field, "is %v, which leaves no timestep; must be smaller", s.clipped)
	}
}

// run gives the timesteps and levels of a run.
func (s dpmSchedule) run(run Run) (levelled, error) {
	if err := s.train.check(run); err != nil {
		return levelled{}, err
	}
	table := s.train.sigmas()
	timesteps := s.timesteps(run.Steps)
	values, last := interpolate(table, timesteps), table[0]
	if bent := s.bent(table, run.Steps); bent != nil {
		values, timesteps = bent, s.wholeTimesteps(sigmaTimesteps(table, bent))
		if s.endAtBent {
			last = float32(bent[len(bent)-1])
		}
	}
	if !s.endAtLeast {
		last = 0
	}
	return levelled{timesteps: toFloat32(timesteps), levels: levels(append(toFloat32(values), last))}, nil
}

// bent gives the sigmas of a bent schedule, or nothing where it isn't bent.
func (s dpmSchedule) bent(table []float32, steps int) []float64 {
	most, least := float64(table[len(table)-1]), float64(table[0])
	switch {
	case s.lu && !s.bending.karras:
		return luSigmas(most, least, steps)
	case s.bending.bent():
		return s.bending.sigmas(most, least, steps)
	}
	return nil
}

// wholeTimesteps rounds what belongs to bent sigmas; where diffusers does not round, its
// conversion to integers cuts off.
func (s dpmSchedule) wholeTimesteps(timesteps []float64) []float64 {
	karras := s.bending.karras
	round := math.Trunc
	if s.roundAll && karras || !s.roundAll && (karras || s.lu) && !s.cosine {
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
	return roundAll(evenTimesteps(last, steps+1)[:steps])
}

// lastTimestep is the number of training timesteps that clipping leaves.
func (s dpmSchedule) lastTimestep() int {
	ratios := make([]float64, len(s.train.alphasCumprod))
	for i, a := range s.train.alphasCumprod {
		// From the last timestep down, so that the ratios rise.
		ratios[len(ratios)-1-i] = float64(log32(sqrt32(a)) - log32(sqrt32(1-a)))
	}
	return s.train.steps - sort.SearchFloat64s(ratios, s.clipped)
}

// luSigmas falls in equal parts of the logarithm, computed as Lu's schedule with ρ = 1
// (section 5 of arXiv:2206.00927).
func luSigmas(most, least float64, steps int) []float64 {
	from, to := float64(log32(float32(most))), float64(log32(float32(least)))
	out := linspace64(0, 1, steps)
	for i, r := range out {
		out[i] = math.Exp(from + float64(r*(to-from)))
	}
	return out
}
