// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "math"

// cpuNoise draws the numbers that torch.Generator("cpu").manual_seed(seed) draws.
type cpuNoise struct {
	twister twister
	// cached is the second of a pair of normal numbers, where one was left over.
	cached *float64
}

// newCPUNoise makes a generator. Only the low 32 bits of the seed count, as in torch.
func newCPUNoise(seed int64) *cpuNoise {
	g := &cpuNoise{}
	g.twister.seed(uint32(seed))
	return g
}

// blockSize is how many normal numbers torch's vectorised path makes at once.
const blockSize = 16

// Normal fills dst as torch.randn(len(dst), generator=g, dtype=torch.float32) does.
// From 16 numbers on torch fills everything with uniform numbers first and then
// turns them, block by block, into normal ones; below, it draws pairs in float64.
// The bits are those of torch 2.15 on x86-64 processors with AVX2 or AVX-512, which
// draw alike. Elsewhere torch takes logarithm, sine and cosine from the C library: of
// 4 194 304 numbers 38 % differ then, by at most 2.3e-6, and draws below 16 do not.
func (g *cpuNoise) Normal(dst []float32) {
	if len(dst) < blockSize {
		for i := range dst {
			dst[i] = float32(g.normal())
		}
		return
	}
	for i := range dst {
		dst[i] = g.uniform32()
	}
	for i := 0; i+blockSize <= len(dst); i += blockSize {
		boxMuller(dst[i : i+blockSize])
	}
	if len(dst)%blockSize != 0 {
		// The last block overlaps the one before, and is drawn anew.
		tail := dst[len(dst)-blockSize:]
		for i := range tail {
			tail[i] = g.uniform32()
		}
		boxMuller(tail)
	}
}

// boxMuller turns 16 uniform numbers from [0, 1) into normal ones, in place: the first
// eight give radii, the others angles.
func boxMuller(block []float32) {
	const half = blockSize / 2
	for j := range half {
		u1 := 1 - block[j] // from (0, 1], so that the logarithm is finite
		u2 := block[j+half]
		radius := sqrt32(-2 * vectorLog(u1))
		sin, cos := vectorSincos(2 * math.Pi * u2)
		block[j] = radius * cos
		block[j+half] = radius * sin
	}
}

// normal gives one normal number; every second one is left over from the one before.
func (g *cpuNoise) normal() float64 {
	if g.cached != nil {
		v := *g.cached
		g.cached = nil
		return v
	}
	u1, u2 := g.uniform64(), g.uniform64()
	radius := math.Sqrt(-2 * math.Log1p(-u2))
	sin, cos := math.Sincos(2 * math.Pi * u1)
	next := radius * sin
	g.cached = &next
	return radius * cos
}

// uniform32 gives a number from [0, 1) with 24 random bits.
func (g *cpuNoise) uniform32() float32 {
	return float32(g.twister.next()&(1<<24-1)) / (1 << 24)
}

// uniform64 gives a number from [0, 1) with 53 random bits.
func (g *cpuNoise) uniform64() float64 {
	high, low := g.twister.next(), g.twister.next()
	return float64((uint64(high)<<32|uint64(low))&(1<<53-1)) / (1 << 53)
}
