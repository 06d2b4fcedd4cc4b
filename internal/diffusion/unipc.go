// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"math"
	"slices"
)

// unipc predicts the next sample from the predictions of up to three timesteps, and
// corrects it once the network was called there, one network call a step
// (arXiv:2302.04867); UniPCMultistepScheduler of diffusers.
type unipc struct {
	levelled
	prediction string
	clip       clipping
	// picture says that the picture is integrated, not the noise; bh1 is the other kind
	// of B(h) than bh2.
	picture, bh1 bool
	order        int
	lowerFinal   bool
	// uncorrected are the indices of steps that are left as they were predicted.
	uncorrected []int
	history
	// start is the sample of the step before, once there was one, and lastOrder its order.
	start     []float32
	lastOrder int
}

// readUniPC reads the options of UniPCMultistepScheduler.
func readUniPC(o *options) func(Run) (Scheduler, error) {
	schedule := readDPMSchedule(o)
	schedule.roundAll, schedule.endAtBent = true, true
	schedule.bending.readEnds(o)
	s := unipc{
		prediction: readPrediction(o),
		clip:       readThresholding(o),
		picture:    o.flagOr("predict_x0", true),
		order:      o.integer("solver_order", 2, 1, 3),
		lowerFinal: o.flagOr("lower_order_final", true),
		// Types of other solvers stand for bh2, as in diffusers.
		bh1: o.choice("solver_type", "bh2", "bh1", "midpoint", "heun", "logrho") == "bh1",
	}
	o.read("disable_corrector", &s.uncorrected, "a list of whole numbers")
	o.refuse("solver_p", nil)
	o.refuse("use_dynamic_shifting", false)
	o.refuse("shift_terminal", nil)
	if !schedule.endAtLeast {
		s.refuseEnd(o)
	}
	return func(run Run) (Scheduler, error) {
		common, err := schedule.run(run)
		if err != nil {
			return nil, err
		}
		made := s
		made.levelled = common
		return &made, nil
	}
}

// refuseEnd refuses what can't end at sigma 0, where diffusers gets NaN.
func (s *unipc) refuseEnd(o *options) {
	const field, message = "final_sigmas_type", "is zero, which %s can't end at; must be sigma_min"
	switch {
	case !s.picture:
		o.fail(field, message, "predict_x0 false")
	case s.bh1:
		o.fail(field, message, "solver_type bh1")
	case !s.lowerFinal && s.order > 1:
		o.fail(field, message, "lower_order_final false")
	}
}

// Step corrects the sample of timestep i with what was predicted there, and goes on to
// the next timestep.
func (s *unipc) Step(i int, sample, prediction []float32, _ Noise) {
	converted := s.convert(s.levels[i], sample, prediction)
	if s.start != nil && !slices.Contains(s.uncorrected, i-1) {
		copy(sample, s.start)
		s.update(i-1, s.lastOrder, sample, converted)
	}
	s.add(converted, s.order, s.stays(i))
	order := len(s.converted)
	if s.lowerFinal {
		order = min(order, len(s.timesteps)-i)
	}
	s.lastOrder = order
	s.start = slices.Clone(sample)
	s.update(i, order, sample, nil)
}

// convert gives what is integrated, in a new slice.
func (s *unipc) convert(at level, sample, prediction []float32) []float32 {
	if !s.picture {
		return at.noise(s.prediction, sample, prediction)
	}
	picture := at.original(s.prediction, sample, prediction)
	s.clip.apply(picture)
	return picture
}

// update takes the sample, in place, from timestep i to the next: as the predictor does,
// or as the corrector does where next, what was predicted after the step, is known.
func (s *unipc) update(i, order int, sample, next []float32) {
	from, to := s.levels[i], s.levels[i+1]
	if from.same(to) {
		return
	}
	h := to.lambda - from.lambda
	ratio, scale, way := to.alpha/from.alpha, to.sigma, h
	if s.picture {
		ratio, scale, way = to.sigma/from.sigma, to.alpha, -h
	}
	phi := float32(math.Expm1(float64(way)))
	b := phi
	if s.bh1 {
		b = way
	}
	latest := s.converted[len(s.converted)-1]
	ratios := make([]float32, 0, order)
	differences := make([][]float32, 0, order)
	for k := 1; k < order; k++ {
		r := (s.levels[i-k].lambda - from.lambda) / h
		ratios = append(ratios, r)
		differences = append(differences, quotient(s.converted[len(s.converted)-1-k], latest, r))
	}
	if next != nil {
		differences = append(differences, difference(1, next, latest))
	}
	rhos := uniformCoefficients(append(ratios, 1), way, phi, b, next != nil)
	for k, x := range sample {
		var sum float32
		for j, d := range differences {
			sum += float32(rhos[j] * d[k])
		}
		sample[k] = float32(ratio*x) - float32(scale*phi*latest[k]) - float32(scale*b*sum)
	}
}

// uniformCoefficients are ρ of equation 5 of arXiv:2302.04867: with the corrector one for
// each of the ratios, else one less, the last being left out.
func uniformCoefficients(ratios []float32, way, phi, b float32, corrector bool) []float32 {
	order := len(ratios)
	n := order - 1
	if corrector {
		n = order
	}
	// diffusers shortens what would come out near this.
	if corrector && order == 1 || !corrector && order == 2 {
		return []float32{0.5}
	}
	matrix := make([][]float64, n)
	term, factorial := phi/way-1, float32(1)
	for i := range n {
		row := make([]float64, n+1)
		for j := range n {
			row[j] = float64(float32(math.Pow(float64(ratios[j]), float64(i))))
		}
		row[n] = float64(term * factorial / b)
		matrix[i] = row
		factorial *= float32(i + 2)
		term = term/way - 1/factorial
	}
	return solve(matrix)
}

// solve solves a small system of linear equations, each row with its right side at the
// end, by elimination with the largest pivot. It overwrites the rows.
func solve(rows [][]float64) []float32 {
	n := len(rows)
	for c := range n {
		pivot := c
		for r := c + 1; r < n; r++ {
			if math.Abs(rows[r][c]) > math.Abs(rows[pivot][c]) {
				pivot = r
			}
		}
		rows[c], rows[pivot] = rows[pivot], rows[c]
		for r := range n {
			if r == c {
				continue
			}
			factor := rows[r][c] / rows[c][c]
			for k := c; k <= n; k++ {
				rows[r][k] -= factor * rows[c][k]
			}
		}
	}
	out := make([]float32, n)
	for r, row := range rows {
		out[r] = float32(row[n] / row[r])
	}
	return out
}

// quotient is (a−b)/divisor.
func quotient(a, b []float32, divisor float32) []float32 {
	out := make([]float32, len(a))
	for k := range out {
		out[k] = (a[k] - b[k]) / divisor
	}
	return out
}
