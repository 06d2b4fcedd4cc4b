// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// tableSchedule is how the schedulers pick timesteps that look up by them what is left of
// the picture: whole ones, within the training.
type tableSchedule struct {
	train   training
	spacing string
	offset  int
}

// readTableSchedule reads the options that DDIMScheduler, DDPMScheduler and PNDMScheduler
// have in common.
func readTableSchedule(o *options, known trainingOptions) tableSchedule {
	s := tableSchedule{
		train:   readTableTraining(o, known),
		spacing: o.choice(fieldSpacing, spacingLeading, spacingLinspace, spacingTrailing),
		offset:  o.integer("steps_offset", 0, 0, maxTrainSteps),
	}
	if s.spacing == spacingLeading && o.err == nil && s.offset >= s.train.steps {
		o.fail("steps_offset", "is %d; must be below num_train_timesteps, which is %d", s.offset, s.train.steps)
	}
	return s
}

// readTableTraining reads the training's noise and refuses betas too few for it.
func readTableTraining(o *options, known trainingOptions) training {
	train := readTraining(o, known)
	if o.err == nil && len(train.alphasCumprod) < train.steps {
		o.fail("trained_betas", "has %d numbers; must have num_train_timesteps, which is %d", len(train.alphasCumprod), train.steps)
	}
	return train
}

// timesteps of a run, from the last down.
func (s tableSchedule) timesteps(run Run) ([]int, error) {
	if err := s.train.check(run); err != nil {
		return nil, err
	}
	if !s.fits(run.Steps) {
		most := 1
		for s.fits(most + 1) {
			most++
		}
		return nil, &StepsError{Steps: run.Steps, Least: 1, Most: most}
	}
	spaced := spacedTimesteps(s.spacing, s.train.steps, run.Steps, s.offset)
	if s.spacing == spacingLinspace {
		spaced = roundAll(evenTimesteps(s.train.steps, run.Steps))
	}
	out := make([]int, len(spaced))
	for i, t := range spaced {
		out[i] = int(t)
	}
	return out, nil
}

// levelled gives the timesteps of a run, and what schedulers have in common at them.
func (s tableSchedule) levelled(run Run, prediction string) ([]int, levelled, error) {
	timesteps, err := s.timesteps(run)
	if err != nil {
		return nil, levelled{}, err
	}
	common, err := s.train.at(timesteps, prediction)
	return timesteps, common, err
}

// fits says that the first timestep is one of the training. The offset of leading spacing
// can shift it out, where diffusers fails.
func (s tableSchedule) fits(steps int) bool {
	return s.spacing != spacingLeading || (steps-1)*(s.train.steps/steps)+s.offset < s.train.steps
}

// ratio is the number of training timesteps in a step.
func (s tableSchedule) ratio(steps int) int { return s.train.steps / steps }

// at gives what schedulers have in common at whole timesteps. It refuses to read noise as
// a picture where there is nothing but noise.
func (t training) at(timesteps []int, prediction string) (levelled, error) {
	out := levelled{timesteps: make([]float32, len(timesteps)), levels: make([]level, len(timesteps))}
	for i, timestep := range timesteps {
		left := t.left(timestep)
		if left == 0 && prediction == predictEpsilon {
			return out, &ConfigError{
				Field:   fieldPrediction,
				Message: "is epsilon, which tells nothing of the picture where rescale_betas_zero_snr leaves none of it; must be v_prediction",
			}
		}
		out.timesteps[i] = float32(timestep)
		out.levels[i] = level{alpha: sqrt32(left), sigma: sqrt32(1 - left)}
	}
	return out, nil
}

// leftOr is left, or the end's where the timestep is past the training's first.
func (t training) leftOr(timestep int, end float32) float32 {
	if timestep < 0 {
		return end
	}
	return t.left(timestep)
}
