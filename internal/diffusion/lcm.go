// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "math"

// lcm jumps to the picture and back to the noise of the next timestep, one network call a
// step (multistep consistency sampling, arXiv:2310.04378); LCMScheduler of
// diffusers.
type lcm struct {
	levelled
	prediction string
	clip       clipping
	// scaling of the timesteps in the boundary condition.
	scaling float32
}

// readLCM reads the options of LCMScheduler.
func readLCM(o *options) func(Run) (Scheduler, error) {
	train := readTableTraining(o, trainingOptions{start: 0.00085, end: 0.012, schedule: scheduleScaledLinear, zeroSNR: zeroSNRExact})
	original := o.integer("original_inference_steps", 50, 1, max(1, train.steps))
	scaling := o.real("timestep_scaling", 10, 0, math.MaxInt32)
	prediction, clip := readPrediction(o), readClipping(o, false)
	return func(run Run) (Scheduler, error) {
		if run.Steps < 1 || run.Steps > original {
			return nil, &StepsError{Steps: run.Steps, Least: 1, Most: original}
		}
		common, err := train.at(lcmTimesteps(train.steps, original, run.Steps), prediction)
		if err != nil {
			return nil, err
		}
		return &lcm{levelled: common, prediction: prediction, clip: clip, scaling: float32(scaling)}, nil
	}
}

// lcmTimesteps picks among those that the network was distilled with, which have equal
// distances and end with the last of the training.
func lcmTimesteps(trainSteps, original, steps int) []int {
	ratio := trainSteps / original
	out := make([]int, steps)
	for i := range out {
		skipped := int(float64(i) * (float64(original) / float64(steps)))
		out[i] = (original-skipped)*ratio - 1
	}
	return out
}

// Step mixes the picture that the prediction implies with the sample so that at timestep 0
// only the sample counts, the boundary condition of consistency models, and draws noise
// but in the last step.
func (s *lcm) Step(i int, sample, prediction []float32, noise Noise) {
	const variance = 0.5 * 0.5 // of the data
	original := s.levels[i].original(s.prediction, sample, prediction)
	s.clip.apply(original)
	scaled := s.timesteps[i] * s.scaling
	square := float32(scaled*scaled) + variance
	skip, out := variance/square, scaled/sqrt32(square)
	for k, x := range sample {
		sample[k] = float32(out*original[k]) + float32(skip*x)
	}
	if i+1 == len(s.timesteps) {
		return
	}
	noise.Normal(original)
	s.levels[i+1].add(sample, original)
}
