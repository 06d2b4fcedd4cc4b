// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// Algorithms of the DPM solvers: ++ integrates the picture that the network predicts,
// the plain ones its noise; sde adds noise in each step.
const (
	solverPlus    = "dpmsolver++"
	solverPlain   = "dpmsolver"
	solverPlusSDE = "sde-dpmsolver++"
	solverSDE     = "sde-dpmsolver"
)

// dpmFormula has the update formulas of the DPM solvers for one algorithm.
type dpmFormula struct {
	algorithm string
	// heun is the other kind of second order than midpoint.
	heun bool
	clip clipping
}

// readDPMFormula reads which of the algorithms is meant.
func readDPMFormula(o *options, algorithms ...string) dpmFormula {
	f := dpmFormula{
		algorithm: o.choice("algorithm_type", append(algorithms, "deis")...),
		// Types of other solvers stand for midpoint, as in diffusers.
		heun: o.choice("solver_type", "midpoint", "heun", "logrho", "bh1", "bh2") == "heun",
		clip: readThresholding(o),
	}
	// Fixed kinds are DDPM's business; learned ones come with twice the channels.
	if kind := o.text("variance_type", ""); kind == "learned" || kind == "learned_range" {
		o.fail("variance_type", "is %s, which is not supported; leave it out", kind)
	}
	if f.algorithm == "deis" {
		f.algorithm = solverPlus // As diffusers takes DEIS' configurations.
	}
	return f
}

// refuse names combinations that diffusers refuses or has no formula for.
func (f dpmFormula) refuse(o *options, endAtLeast bool, order int) {
	if !f.predictsPicture() && !endAtLeast {
		o.fail("final_sigmas_type", "is zero, which algorithm_type %s can't end at; must be sigma_min", f.algorithm)
	}
	if f.algorithm == solverSDE && order > 2 {
		o.fail("solver_order", "is %d; must be 1 or 2 for algorithm_type %s", order, f.algorithm)
	}
}

// predictsPicture says that the picture is integrated, not the noise.
func (f dpmFormula) predictsPicture() bool {
	return f.algorithm == solverPlus || f.algorithm == solverPlusSDE
}

// convert gives what is integrated, in a new slice.
func (f dpmFormula) convert(at level, kind string, sample, prediction []float32) []float32 {
	if f.predictsPicture() {
		picture := at.original(kind, sample, prediction)
		f.clip.apply(picture)
		return picture
	}
	noise := at.noise(kind, sample, prediction)
	if !f.clip.dynamic {
		return noise
	}
	picture := at.original(predictEpsilon, sample, noise)
	f.clip.apply(picture)
	return at.noise(predictSample, sample, picture)
}

// draw gives the n numbers of noise of a step, or nothing where a step adds none.
func (f dpmFormula) draw(n int, noise Noise) []float32 {
	if f.algorithm != solverPlusSDE && f.algorithm != solverSDE {
		return nil
	}
	drawn := make([]float32, n)
	noise.Normal(drawn)
	return drawn
}

// weights of a step: next = sample·x + d0·D0 + d1·D1 + d2·D2 + noise·n, where D0 is what
// is integrated at the start of the step, and D1 and D2 are its differences.
type weights struct{ sample, d0, d1, d2, noise float32 }

// weights for the way from one level to another (arXiv:2206.00927 and 2211.01095, with h
// the way in lambda). The midpoint kind of second order has d0/2 in the place of d1.
func (f dpmFormula) weights(from, to level) weights {
	h := to.lambda - from.lambda
	switch f.algorithm {
	case solverPlus:
		e := exp32(-h) - 1
		return weights{
			sample: to.sigma / from.sigma,
			d0:     -to.alpha * e, d1: to.alpha * (e/h + 1), d2: -to.alpha * ((e+h)/(h*h) - 0.5),
		}
	case solverPlain:
		e := exp32(h) - 1
		return weights{
			sample: to.alpha / from.alpha,
			d0:     -to.sigma * e, d1: -to.sigma * (e/h - 1), d2: -to.sigma * ((e-h)/(h*h) - 0.5),
		}
	case solverPlusSDE:
		e := 1 - exp32(-2*h)
		return weights{
			sample: to.sigma / from.sigma * exp32(-h),
			d0:     to.alpha * e, d1: to.alpha * (e/(-2*h) + 1), d2: to.alpha * ((e-2*h)/(4*h*h) - 0.5),
			noise: to.sigma * sqrt32(max(0, e)),
		}
	}
	e := exp32(h) - 1
	return weights{
		sample: to.alpha / from.alpha,
		d0:     -2 * to.sigma * e, d1: -2 * to.sigma * (e/h - 1),
		noise: to.sigma * sqrt32(max(0, exp32(2*h)-1)),
	}
}

// multistep takes the sample, in place, from the last of the points to the level to. What
// was predicted at the points is in latest; both begin with the oldest.
func (f dpmFormula) multistep(to level, points []level, latest [][]float32, sample, noise []float32) {
	last := len(points) - 1
	if points[last].same(to) {
		return
	}
	w := f.weights(points[last], to)
	h := to.lambda - points[last].lambda
	switch len(points) {
	case 1:
		w.apply(sample, latest[0], nil, nil, noise)
	case 2:
		if !f.heun {
			w.d1 = w.d0 / 2
		}
		r := (points[1].lambda - points[0].lambda) / h
		w.apply(sample, latest[1], difference(1/r, latest[1], latest[0]), nil, noise)
	default:
		r0, r1 := (points[2].lambda-points[1].lambda)/h, (points[1].lambda-points[0].lambda)/h
		d1 := difference(1/r0, latest[2], latest[1])
		older := difference(1/r1, latest[1], latest[0])
		d2 := difference(1/(r0+r1), d1, older)
		for k, d := range difference(r0/(r0+r1), d1, older) {
			d1[k] += d
		}
		w.apply(sample, latest[2], d1, d2, noise)
	}
}

// singlestep takes the sample, in place, from the first of the points to the level to.
func (f dpmFormula) singlestep(to level, points []level, latest [][]float32, sample, noise []float32) {
	w := f.weights(points[0], to)
	h := to.lambda - points[0].lambda
	switch len(points) {
	case 1:
		w.apply(sample, latest[0], nil, nil, noise)
	case 2:
		if !f.heun {
			w.d1 = w.d0 / 2
		}
		r := (points[1].lambda - points[0].lambda) / h
		w.apply(sample, latest[0], difference(1/r, latest[1], latest[0]), nil, noise)
	default:
		r0, r1 := (points[2].lambda-points[0].lambda)/h, (points[1].lambda-points[0].lambda)/h
		far := difference(1/r0, latest[2], latest[0])
		if !f.heun {
			w.apply(sample, latest[0], far, nil, noise)
			return
		}
		near := difference(1/r1, latest[1], latest[0])
		d1 := make([]float32, len(near))
		for k := range d1 {
			d1[k] = (float32(r0*near[k]) - float32(r1*far[k])) / (r0 - r1)
		}
		w.apply(sample, latest[0], d1, difference(2/(r0-r1), far, near), noise)
	}
}

// apply takes the sample, in place, to the end of the step. Differences and noise that
// are nil count as 0.
func (w weights) apply(sample, d0, d1, d2, noise []float32) {
	for k, x := range sample {
		next := float32(w.sample*x) + float32(w.d0*d0[k])
		if d1 != nil {
			next += float32(w.d1 * d1[k])
		}
		if d2 != nil {
			next += float32(w.d2 * d2[k])
		}
		if noise != nil {
			next += float32(w.noise * noise[k])
		}
		sample[k] = next
	}
}

// difference is factor·(a−b).
func difference(factor float32, a, b []float32) []float32 {
	out := make([]float32, len(a))
	for k := range out {
		out[k] = factor * (a[k] - b[k])
	}
	return out
}
