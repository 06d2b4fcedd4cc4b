// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"math"
	"slices"
	"testing"

	"github.com/atelier-dev/atelier/internal/parity"
)

// TestPhiloxKnownAnswers has the lines "philox4x32 10" of tests/kat_vectors in
// Random123 1.14.0, which the authors of Philox published.
func TestPhiloxKnownAnswers(t *testing.T) {
	const ones = math.MaxUint32
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{want: [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{ones, ones, ones, ones}, [2]uint32{ones, ones}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{
			[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
			[2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	} {
		if got := philox(c.counter, c.key); got != c.want {
			t.Errorf("counter %x, key %x: %x, want %x", c.counter, c.key, got, c.want)
		}
	}
}

// Threads that GPUs run at once: multiprocessors times threads of each.
const (
	threadsM4000   = 13 * 2048
	threads2070S   = 40 * 1024
	threadsRTX3060 = 28 * 1536
	threadsA4000   = 48 * 1536
	threadsA6000   = 84 * 1536
	threadsA100    = 108 * 2048
	threadsH100    = 132 * 2048
)

// printed is a part of a tensor as someone printed it who ran torch on a GPU.
type printed struct {
	source  string
	seed    int64
	threads int
	size    int
	// mean and deviation that the numbers were brought to, 0 and 1 unless given.
	mean, deviation float64
	// at maps the index of a number to it and those that follow.
	at map[int][]float32
}

// TestCUDANoiseEqualsWhatGPUsPrinted has what real GPUs printed, each to four digits.
// Where a draw is larger than a GPU has threads, the last numbers show its layout.
func TestCUDANoiseEqualsWhatGPUsPrinted(t *testing.T) {
	wrong, all := 0, 0
	for _, p := range []printed{
		{
			source: "kapilsh/cuda-mode-lecture, README.md, in_out_tensor of the LoRA example", seed: 0, threads: referenceThreads, size: 64,
			at: map[int][]float32{0: {
				-0.9247, -0.4253, -2.6438, 0.1452, -0.1209, -0.5797, -0.6229, -0.3284, -1.0745, -0.3631, -1.6711, 2.2655, 0.3117, -0.1842, 1.2866, 1.1820,
				-0.1271, 1.2169, 1.4353, 1.0605, -0.4941, -1.4244, -0.7244, -1.2973, 0.0697, -0.0074, 1.8969, 0.6878, -0.0779, -0.8373, 1.3506, -0.2879,
				-0.5965, -0.3283, -0.9086, -0.8059, -0.7407, -0.0504, 0.5435, 1.5150, 0.0141, 0.4532, 1.6349, 0.7124, -0.1806, 1.0252, -1.4622, -0.7554,
				-0.1836, 0.3824, 0.3918, -0.0830, 0.8971, -1.1123, 0.1116, 0.4863, -0.5499, -0.3231, -0.5469, 0.9049, 0.2837, 0.1210, 0.4730, -1.0823,
			}},
		},
		{
			source: "pytorch/pytorch issue 79496", seed: 10, threads: referenceThreads, size: 3,
			at: map[int][]float32{0: {-0.1029, 1.6810, -0.2708}},
		},
		{
			source: "pytorch/pytorch issue 62467, RTX A6000", seed: 43, threads: threadsA6000, size: 49152,
			at: map[int][]float32{0: {1.9983}, 16384: {0.8704}, 32768: {2.1127}},
		},
		{
			source: "pytorch/pytorch issue 158398, RTX 3060", seed: 42, threads: threadsRTX3060, size: 64 * 2048,
			at: map[int][]float32{
				0: {0.1940, 2.1614, -0.1721}, 2045: {1.4540, -2.7733, -0.8932, -0.4574, 0.8063, 0.1580}, 4093: {0.1124, 0.2769, -1.2535, 1.1346, -0.6329, -0.9147},
				61 * 2048: {-0.4861, 0.3358, 1.0578}, 62*2048 - 3: {-0.7282, 0.5087, 0.1318, 0.7881, 0.8339, -1.1424},
				63*2048 - 3: {-0.6297, -1.1112, -0.4091, -1.2356, -0.4083, -0.4695}, 64*2048 - 3: {-0.4841, 1.2850, -0.0282},
			},
		},
		{
			source: "pytorch/pytorch issue 97097, RTX A4000", seed: 14, threads: threadsA4000, size: 100000, mean: 5, deviation: math.Sqrt(5),
			at: map[int][]float32{
				0: {2.8731, 5.2727, 2.9889}, 97: {1.6853, 9.6331, 6.6319, 3.9968, 3.8097, 5.7328}, 197: {4.4029, 3.9804, 7.4698, 6.5552, 4.0857, 4.2315},
				99700: {8.6297, 2.3137, 6.2596}, 99797: {7.9358, 4.4697, 2.7475, 7.0551, 7.8583, 3.9990},
				99897: {4.1139, 8.9315, 4.2042, 2.7337, 2.2106, 7.7815}, 99997: {8.2207, 6.5395, 4.2604},
			},
		},
		{
			source: "pytorch/pytorch issue 143086, H100", seed: 1, threads: threadsH100, size: 49 * 12 * 112 * 144,
			at: map[int][]float32{0: {-0.2963, 2.6764, -0.1408}, 49*12*112*144 - 3: {-0.6970, -0.7780, 0.3267}},
		},
		{
			source: "pytorch/pytorch issue 143086, A100", seed: 1, threads: threadsA100, size: 49 * 12 * 112 * 144,
			at: map[int][]float32{0: {-0.2963, 2.6764, -0.1408}, 49*12*112*144 - 3: {0.1549, -0.6797, -0.1656}},
		},
	} {
		differ, printed := p.compare(t)
		wrong, all = wrong+differ, all+printed
	}
	parity.About(t, "noise", "torch, CUDA (to four digits)")
	parity.Record(t, "of all numbers", parity.Figure{Measure: parity.Exact, Worst: float64(wrong) / float64(all), Cases: all})
}

// compare draws and compares what was printed. It counts the numbers that differ, and all.
func (p printed) compare(t *testing.T) (wrong, all int) {
	t.Helper()
	numbers := make([]float32, p.size)
	newCUDANoise(p.seed, p.threads).Normal(numbers)
	if p.deviation == 0 {
		p.deviation = 1
	}
	for begin, want := range p.at {
		for i, w := range want {
			all++
			if got := p.mean + p.deviation*float64(numbers[begin+i]); math.Abs(got-float64(w)) > 6e-5 {
				wrong++
				t.Errorf("%s: number %d is %.6f, want %v", p.source, begin+i, got, w)
			}
		}
	}
	return wrong, all
}

// TestCUDANoiseGoesOnFromDrawToDraw has six torch.randn(4, device="cuda") after
// torch.manual_seed(42), from a reproduction of a defect in torch.compile.
func TestCUDANoiseGoesOnFromDrawToDraw(t *testing.T) {
	noise := newCUDANoise(42, referenceThreads)
	for draw, want := range [][]float32{
		{0.1940, 2.1614, -0.1721, 0.8491},
		{0.1391, -0.1082, -0.7174, 0.7566},
		{-0.5187, 1.2268, 0.6255, -0.9117},
		{-0.6974, -1.8688, -0.8832, -1.6627},
		{-1.2682, -0.0383, -0.1029, 1.4400},
		{1.4640, -0.3238, 0.7740, 1.5892},
	} {
		got := make([]float32, 4)
		noise.Normal(got)
		for i, w := range want {
			if math.Abs(float64(got[i]-w)) > 6e-5 {
				t.Errorf("draw %d: %v, want %v", draw, got, want)
				break
			}
		}
	}
}

// TestCUDANoiseOfAGridStride computes each number of a large draw from its place alone:
// which thread makes it, in which of its rounds, and as which of four. The draw after
// goes on behind the last round.
func TestCUDANoiseOfAGridStride(t *testing.T) {
	const threads, size = 512, 9*512 + 100
	got := make([]float32, size)
	noise := newCUDANoise(7, threads)
	noise.Normal(got)
	for i, g := range got {
		round, lane, thread := i/(4*threads), i/threads%4, i%threads
		words := philox([4]uint32{uint32(round), 0, uint32(thread), 0}, [2]uint32{7, 0})
		if want := curandNormal(words, lane); g != want {
			t.Fatalf("number %d is %v, want %v", i, g, want)
		}
	}
	next := make([]float32, 1)
	noise.Normal(next)
	if want := curandNormal(philox([4]uint32{3, 0, 0, 0}, [2]uint32{7, 0}), 0); next[0] != want {
		t.Errorf("the next number is %v, want %v", next[0], want)
	}
}

// TestCUDANoiseDoesNotDependOnTheGPU within the threads that all of them have.
func TestCUDANoiseDoesNotDependOnTheGPU(t *testing.T) {
	want := make([]float32, threadsM4000)
	newCUDANoise(-3, referenceThreads).Normal(want)
	for _, threads := range []int{threadsM4000, threads2070S, threadsA4000} {
		got := make([]float32, len(want))
		newCUDANoise(-3, threads).Normal(got)
		if !slices.Equal(got, want) {
			t.Errorf("%d threads draw other numbers", threads)
		}
	}
}

// TestCurandNormalIsFinite at the ends of the words' range.
func TestCurandNormalIsFinite(t *testing.T) {
	for _, words := range [][4]uint32{{}, {math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32}, {0, math.MaxUint32, math.MaxUint32, 0}} {
		for k := range 4 {
			if v := curandNormal(words, k); v-v != 0 || math.Abs(float64(v)) > 7 {
				t.Errorf("words %v give %v", words, v)
			}
		}
	}
}
