// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "math"

// referenceThreads is how many threads the GPU runs at once whose numbers are drawn:
// NVIDIA's H100 SXM and H200, 132 multiprocessors of 2048 threads. Draws of up to as
// many numbers as a GPU has threads are the same on every GPU that has them: the 16384
// of a 512x512 picture of Stable Diffusion on nearly all, the 65536 of a 1024x1024 one on
// all but small ones (a T4 has 40960 threads, a V100 163840, an RTX 4090 196608, an A100
// 221184). Beyond its own number of threads each GPU model goes on in its own order.
const referenceThreads = 132 * 2048

// cudaBlock is the number of threads in a block of torch's kernel: it starts whole
// blocks.
const cudaBlock = 256

// cudaNoise draws the numbers that torch.Generator("cuda").manual_seed(seed) draws on
// a GPU that runs so many threads at once, multiprocessors times threads of each.
//
// The order of the numbers is exact. It is that of distribution_elementwise_grid_stride_kernel
// in PyTorch's DistributionTemplates.h and of curand_init and curand_normal4 in NVIDIA's
// cuRAND: the seed is the key, the number of the thread and the count of its draws the
// counter, and the four words make four numbers, which go to places as far apart as
// there are threads. The last bits are not those of a GPU, which takes the sine and the
// cosine of the angle from its special function unit (__sincosf), where these are right
// to the last bit. No GPU was at hand to measure by how much; the numbers are compared
// with what others printed, to four digits.
type cudaNoise struct {
	key     [2]uint32
	threads int
	// draws is how many blocks of four words each thread has used up: torch's
	// philox_offset_per_thread / 4.
	draws uint64
}

// newCUDANoise makes a generator. All 64 bits of the seed count.
func newCUDANoise(seed int64, threads int) *cudaNoise {
	return &cudaNoise{key: [2]uint32{uint32(seed), uint32(uint64(seed) >> 32)}, threads: threads}
}

// Normal fills dst as torch.randn(len(dst), generator=g, device="cuda") does with
// float32 numbers; float16 ones are these, rounded.
func (g *cudaNoise) Normal(dst []float32) {
	blocks := (len(dst) + cudaBlock - 1) / cudaBlock
	stride := min(g.threads, blocks*cudaBlock)
	for begin := 0; begin < len(dst); begin += 4 * stride {
		for thread := range min(stride, len(dst)-begin) {
			words := philox([4]uint32{uint32(g.draws), uint32(g.draws >> 32), uint32(thread), 0}, g.key)
			for k, i := 0, begin+thread; k < 4 && i < len(dst); k, i = k+1, i+stride {
				dst[i] = curandNormal(words, k)
			}
		}
		g.draws++
	}
}

// curandNormal gives number k of the four normal ones that curand_normal4 makes of four
// random words: the first two words give sine and cosine of an angle, the others too.
func curandNormal(words [4]uint32, k int) float32 {
	const (
		unit = 1.0 / (1 << 32)
		turn = float32(2*math.Pi) * unit
	)
	u := float32(words[k&^1])*unit + unit/2 // from (0, 1], so that the logarithm is finite
	radius := sqrt32(-2 * float32(math.Log(float64(u))))
	angle := float64(fma(float32(words[k|1]), turn, turn/2))
	if k%2 == 0 {
		return radius * float32(math.Sin(angle))
	}
	return radius * float32(math.Cos(angle))
}
