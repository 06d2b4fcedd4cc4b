// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "slices"

// Method is what a scheduler does, in the words of its class and its options in diffusers.
type Method struct {
	// Class is the class of the scheduler.
	Class string
	// Algorithm is algorithm_type and Order solver_order; "" and 0 for classes that have
	// no such option.
	Algorithm string
	Order     int
	// Sigmas is karras, exponential or beta where an option of that name bends the fall of
	// the noise, and otherwise "".
	Sigmas string
	// ClipsUnasked says that the class clips the pictures that predictions imply as the
	// configuration leaves clip_sample out. That is right for pixels, and spoils latents.
	ClipsUnasked bool
}

// MethodOf describes what New makes of a class and a configuration. Options that the
// class does not read count for nothing.
func MethodOf(class string, config Config) Method {
	m := Method{Class: class}
	read := readers[class]
	if read == nil {
		return m
	}
	o := &options{values: config.values}
	read(o)
	asked := slices.Clone(o.asked)
	m.ClipsUnasked = o.clipsUnasked
	if slices.Contains(asked, "algorithm_type") {
		m.Algorithm = readDPMFormula(o, solverPlus, solverPlain, solverPlusSDE, solverSDE).algorithm
	}
	if slices.Contains(asked, "solver_order") {
		m.Order = o.integer("solver_order", 2, 1, 3)
	}
	for _, sigmas := range []string{"karras", "exponential", "beta"} {
		if field := "use_" + sigmas + "_sigmas"; slices.Contains(asked, field) && o.flag(field) {
			m.Sigmas = sigmas
		}
	}
	return m
}
