// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// Constants of MT19937 (Matsumoto and Nishimura 1998).
const (
	twisterSize   = 624
	twisterMiddle = 397
	twisterMatrix = 0x9908b0df
	upperBit      = 0x80000000
	lowerBits     = 0x7fffffff
)

// twister is the Mersenne twister MT19937, torch's generator on the CPU.
type twister struct {
	state [twisterSize]uint32
	index int
}

// seed starts the sequence anew.
func (t *twister) seed(seed uint32) {
	t.state[0] = seed
	for i := 1; i < twisterSize; i++ {
		previous := t.state[i-1]
		t.state[i] = 1812433253*(previous^previous>>30) + uint32(i)
	}
	t.index = twisterSize
}

// next gives 32 random bits.
func (t *twister) next() uint32 {
	if t.index == twisterSize {
		t.generate()
	}
	y := t.state[t.index]
	t.index++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// generate makes the next 624 words of the state.
func (t *twister) generate() {
	for i := range twisterSize {
		y := t.state[i]&upperBit | t.state[(i+1)%twisterSize]&lowerBits
		next := t.state[(i+twisterMiddle)%twisterSize] ^ y>>1
		if y&1 != 0 {
			next ^= twisterMatrix
		}
		t.state[i] = next
	}
	t.index = 0
}
