// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// ddim takes the picture that the prediction implies, and goes to the noise of the next
// timestep in the same direction, one network call a step (arXiv:2010.02502);
// DDIMScheduler of diffusers.
type ddim struct {
	levelled
	prediction string
	clip       clipping
	eta        float32
	// left has what is left of the picture at each timestep, and next where its step
	// leads.
	left, next []float32
}

// readDDIM reads the options of DDIMScheduler.
func readDDIM(o *options) func(Run) (Scheduler, error) {
	schedule := readTableSchedule(o, usualTraining(zeroSNRExact))
	prediction, clip := readPrediction(o), readClipping(o, true)
	end := readEndLeft(o, schedule.train, true)
	return func(run Run) (Scheduler, error) {
		timesteps, common, err := schedule.levelled(run, prediction)
		if err != nil {
			return nil, err
		}
		s := &ddim{levelled: common, prediction: prediction, clip: clip, eta: float32(run.Eta)}
		for _, t := range timesteps {
			s.left = append(s.left, schedule.train.left(t))
			s.next = append(s.next, schedule.train.leftOr(t-schedule.ratio(run.Steps), end))
		}
		return s, nil
	}
}

// readEndLeft reads how much is left of the picture at the end of a run: all, or as much as
// at the training's first timestep.
func readEndLeft(o *options, train training, one bool) float32 {
	if o.flagOr("set_alpha_to_one", one) || o.err != nil {
		return 1
	}
	return train.alphasCumprod[0]
}

// Step goes to the next timestep by equation 12 of the paper, where σ is eta times the
// deviation of equation 16. With eta it draws noise in every step.
func (s *ddim) Step(i int, sample, prediction []float32, noise Noise) {
	original := s.levels[i].original(s.prediction, sample, prediction)
	epsilon := s.levels[i].noise(s.prediction, sample, prediction)
	s.clip.apply(original)
	left, next := s.left[i], s.next[i]
	variance := (1 - next) / (1 - left) * (1 - left/next)
	deviation := s.eta * sqrt32(variance)
	alpha := sqrt32(next)
	// Rounding can make the square negative with eta 1, where diffusers gets NaN.
	direction := sqrt32(max(0, 1-next-float32(deviation*deviation)))
	for k, e := range epsilon {
		sample[k] = float32(alpha*original[k]) + float32(direction*e)
	}
	if s.eta > 0 {
		noise.Normal(epsilon)
		for k, n := range epsilon {
			sample[k] += float32(deviation * n)
		}
	}
}
