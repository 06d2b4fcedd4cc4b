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

// Run is what one run asks of a scheduler beside its configuration.
type Run struct {
	// Steps is the number of steps asked for. A scheduler may call the network more often.
	Steps int
	// Eta from 0 to 1 is the share of noise that DDIM adds in each step. Others ignore it.
	Eta float64
	// Mu shifts the sigmas of flow matching where use_dynamic_shifting says so; it depends
	// on the size of the picture. Others ignore it.
	Mu float64
}

// Scheduler takes one picture from noise to its end. It holds the state of that picture
// alone: make a new one for each. Samples are float32 and flat; their shape does not
// matter to a scheduler.
//
// Steps are taken in order, from index 0 on. Image-to-image begins later: at index
// t·Order() where the first t steps are left out, with AddNoise of that index in place of
// InitNoiseSigma, as diffusers' set_begin_index has it.
type Scheduler interface {
	// Timesteps are what the network is to be called with, one call each: as many as
	// the steps asked for, more where a method calls twice in a step or rounding makes
	// one more, or fewer where clipping leaves the noisiest out.
	Timesteps() []float32
	// Order is how many calls of the network image-to-image counts as one step.
	Order() int
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

// reader reads the options of a class and gives what makes a scheduler for a run. That
// is called only where reading met no error.
type reader func(*options) func(Run) (Scheduler, error)

// readers has the schedulers by their classes in diffusers.
var readers = map[string]reader{
	"DDIMScheduler":                   readDDIM,
	"DDPMScheduler":                   readDDPM,
	"DPMSolverMultistepScheduler":     readDPMMultistep,
	"DPMSolverSinglestepScheduler":    readDPMSinglestep,
	"EulerAncestralDiscreteScheduler": readEulerAncestral,
	"EulerDiscreteScheduler":          readEulerDiscrete,
	"FlowMatchEulerDiscreteScheduler": readFlowMatchEuler,
	"HeunDiscreteScheduler":           readHeun,
	"LCMScheduler":                    readLCM,
	"LMSDiscreteScheduler":            readLMS,
	"PNDMScheduler":                   readPNDM,
	"UniPCMultistepScheduler":         readUniPC,
}

// Classes are the scheduler classes that New makes, by their names in diffusers.
func Classes() []string { return slices.Sorted(maps.Keys(readers)) }

// Supported says whether New makes schedulers of a class.
func Supported(class string) bool { return readers[class] != nil }

// Check reads the configuration as New does, whatever the run. The error is a
// *ConfigError.
func Check(class string, config Config) error {
	_, err := read(class, config)
	return err
}

// New makes a scheduler of the class named, which need not be the one that the
// configuration was written for. The error is a *ConfigError, or a *StepsError
// for a number of steps that it can't take.
func New(class string, config Config, run Run) (Scheduler, error) {
	build, err := read(class, config)
	if err != nil {
		return nil, err
	}
	return build(run)
}

// read reads the options of a class.
func read(class string, config Config) (func(Run) (Scheduler, error), error) {
	read := readers[class]
	if read == nil {
		return nil, &ConfigError{Field: "_class_name", Message: class + " is not supported; there are " + strings.Join(Classes(), ", ")}
	}
	o := &options{values: config.values}
	build := read(o)
	return build, o.finish()
}
