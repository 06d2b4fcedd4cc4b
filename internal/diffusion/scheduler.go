// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package diffusion is the arithmetic of diffusion models: noise, schedulers and
// guidance, equal to torch's and diffusers' to the last bits. It reads no files and
// runs no networks.
package diffusion

import (
	"maps"
	"slices"
	"strings"
)

// Scheduler takes one picture from noise to its end. It holds the state of that picture
// alone: make a new one for each. Samples are float32 and flat; their shape does not
// matter to a scheduler.
type Scheduler interface {
	// Timesteps are what the network is to be called with, one call each: as many as
	// the steps asked for, or more where a method calls twice in a step.
	Timesteps() []float32
	// InitNoiseSigma is what the first noise is multiplied with.
	InitNoiseSigma() float32
	// ScaleModelInput writes what the network takes at timestep i to dst.
	ScaleModelInput(i int, dst, sample []float32)
	// Step takes the sample, in place, from timestep i to the next, given what the
	// network predicted. Methods that add noise draw it from noise.
	Step(i int, sample, prediction []float32, noise Noise)
	// AddNoise brings the original, in place, to timestep i.
	AddNoise(i int, original, noise []float32)
}

// Noise is where schedulers draw normal numbers from.
type Noise interface {
	Normal(dst []float32)
}

// constructors make a scheduler of a class for a number of steps.
var constructors = map[string]func(Config, int) (Scheduler, error){
	"EulerDiscreteScheduler": newEulerDiscrete,
}

// Classes are the scheduler classes that New makes, by their names in diffusers.
func Classes() []string { return slices.Sorted(maps.Keys(constructors)) }

// Supported says whether New makes schedulers of a class.
func Supported(class string) bool { return constructors[class] != nil }

// New makes a scheduler of the class named, which need not be the one that the
// configuration was written for. The error is a *ConfigError, or a *StepsError
// for a number of steps that it can't take.
func New(class string, config Config, steps int) (Scheduler, error) {
	constructor := constructors[class]
	if constructor == nil {
		return nil, &ConfigError{Field: "_class_name", Message: class + " is not supported; there are " + strings.Join(Classes(), ", ")}
	}
	return constructor(config, steps)
}
