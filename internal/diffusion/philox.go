// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// Constants of Philox4x32 (Salmon and others 2011, "Parallel random numbers: as easy as
// 1, 2, 3"): multipliers, and what is added to the key after each round.
const (
	philoxRounds  = 10
	philoxFactor0 = 0xd2511f53
	philoxFactor1 = 0xcd9e8d57
	philoxWeyl0   = 0x9e3779b9
	philoxWeyl1   = 0xbb67ae85
)

// philox gives the four random words of a counter under a key: Philox4x32-10, torch's
// generator on CUDA.
func philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	for range philoxRounds {
		product0 := uint64(counter[0]) * philoxFactor0
		product1 := uint64(counter[2]) * philoxFactor1
		counter = [4]uint32{
			uint32(product1>>32) ^ counter[1] ^ key[0], uint32(product1),
			uint32(product0>>32) ^ counter[3] ^ key[1], uint32(product0),
		}
		key[0] += philoxWeyl0
		key[1] += philoxWeyl1
	}
	return counter
}
