// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "fmt"

// GeneratorDevice is the device of a torch.Generator: each draws other numbers from the
// same seed.
type GeneratorDevice string

// The devices whose numbers can be drawn, on whatever device the network runs.
const (
	GeneratorCPU  GeneratorDevice = "CPU"
	GeneratorCUDA GeneratorDevice = "CUDA"
)

// Noise is where schedulers draw normal numbers from.
type Noise interface {
	// Normal fills dst with float32 numbers of mean 0 and deviation 1.
	Normal(dst []float32)
}

// NewGenerator makes what draws the float32 numbers that
// torch.Generator(device).manual_seed(seed) draws; an empty device is the CPU. The
// numbers of one call are those of one torch.randn, whatever its shape, and each
// call goes on where the one before ended.
func NewGenerator(device GeneratorDevice, seed int64) (Noise, error) {
	switch device {
	case GeneratorCPU, "":
		return newCPUNoise(seed), nil
	case GeneratorCUDA:
		return newCUDANoise(seed, referenceThreads), nil
	default:
		return nil, fmt.Errorf("generator: %q is not known; there are %s and %s", device, GeneratorCPU, GeneratorCUDA)
	}
}
