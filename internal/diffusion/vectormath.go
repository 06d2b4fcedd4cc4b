// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "math"

// The functions here compute logarithm, sine and cosine bit by bit as torch's vectorised
// code does: polynomials of the Cephes library (logf, sinf, cosf), in float32, with
// multiplications and additions fused where torch's compiler fuses them.

// fma is a·b+c with one rounding to float32: the product is exact in float64.
func fma(a, b, c float32) float32 {
	return float32(float64(a)*float64(b) + float64(c))
}

// horner evaluates a polynomial, the highest coefficient first.
func horner(x float32, coefficients ...float32) float32 {
	y := coefficients[0]
	for _, c := range coefficients[1:] {
		y = fma(y, x, c)
	}
	return y
}

// vectorLog is the natural logarithm of a normal, positive number.
func vectorLog(x float32) float32 {
	const (
		lnHigh = 0.693359375
		lnLow  = -2.12194440e-4
	)
	// x = m·2^e with m from [√½, √2).
	bits := math.Float32bits(x)
	e := float32(int32(bits>>23) - 0x7e)
	m := math.Float32frombits(bits&^0x7f800000 | 0x3f000000)
	if m < math.Sqrt2/2 {
		e--
		m = (m - 1) + m
	} else {
		m--
	}
	z := m * m
	y := m * horner(m,
		7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
	y = fma(y, z, e*lnLow)
	y = fma(z, -0.5, y)
	return fma(e, lnHigh, m+y)
}

// vectorSincos gives sine and cosine of an angle from 0 up to a few turns.
func vectorSincos(x float32) (sin, cos float32) {
	// π/4 in three parts, so that what is taken off the angle is exact.
	const (
		part1 = -0.78515625
		part2 = -2.4187564849853515625e-4
		part3 = -3.77489497744594108e-8
	)
	octant := int32(x*(4/math.Pi)) + 1
	octant &^= 1
	y := float32(octant)
	x = fma(y, part1, x)
	x = fma(y, part2, x)
	x = fma(y, part3, x)

	z := x * x
	c := horner(z, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2) * z
	c = fma(c, z, -(z*0.5)) + 1
	s := horner(z, -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1) * z
	s = fma(s, x, x)

	sin, cos = s, c
	if octant&2 != 0 {
		sin, cos = c, s
	}
	if octant&4 != 0 {
		sin = -sin
	}
	if (octant-2)&4 == 0 {
		cos = -cos
	}
	return sin, cos
}
