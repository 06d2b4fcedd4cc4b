// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// Kinds of the variance of DDPM's steps.
const (
	varianceSmall    = "fixed_small"
	varianceSmallLog = "fixed_small_log"
	varianceLarge    = "fixed_large"
)

// ddpm draws each sample from what the picture that the prediction implies makes likely,
// one network call a step (algorithm 2 of arXiv:2006.11239); DDPMScheduler of diffusers.
type ddpm struct {
	levelled
	prediction string
	clip       clipping
	variance   string
	// left has what is left of the picture at each timestep, and next where its step
	// leads.
	left, next []float32
}

// readDDPM reads the options of DDPMScheduler.
func readDDPM(o *options) func(Run) (Scheduler, error) {
	known := usualTraining(zeroSNRExact)
	known.schedules = []string{scheduleLaplace, scheduleSigmoid}
	schedule := readTableSchedule(o, known)
	prediction, clip := readPrediction(o), readClipping(o, true)
	// The learned kinds need a network with twice the channels; of fixed_large_log diffusers
	// takes the root of a logarithm, NaN.
	variance := o.choice("variance_type", varianceSmall, varianceSmallLog, varianceLarge)
	return func(run Run) (Scheduler, error) {
		timesteps, common, err := schedule.levelled(run, prediction)
		if err != nil {
			return nil, err
		}
		s := &ddpm{levelled: common, prediction: prediction, clip: clip, variance: variance}
		for i, t := range timesteps {
			next := float32(1)
			if i+1 < len(timesteps) {
				next = schedule.train.leftOr(timesteps[i+1], 1)
			}
			s.left, s.next = append(s.left, schedule.train.left(t)), append(s.next, next)
		}
		return s, nil
	}
}

// Step goes to the mean of equation 7 of the paper, and adds noise but at timestep 0.
func (s *ddpm) Step(i int, sample, prediction []float32, noise Noise) {
	original := s.levels[i].original(s.prediction, sample, prediction)
	s.clip.apply(original)
	left, next := s.left[i], s.next[i]
	alpha := left / next
	beta := 1 - alpha
	ofOriginal := sqrt32(next) * beta / (1 - left)
	ofSample := sqrt32(alpha) * (1 - next) / (1 - left)
	for k, x := range original {
		sample[k] = float32(ofOriginal*x) + float32(ofSample*sample[k])
	}
	if s.timesteps[i] <= 0 {
		return
	}
	deviation := s.deviation(beta, (1-next)/(1-left)*beta)
	noise.Normal(original)
	for k, n := range original {
		sample[k] += float32(deviation * n)
	}
}

// deviation of the noise that a step adds, given its beta and the smallest variance.
func (s *ddpm) deviation(beta, variance float32) float32 {
	variance = max(variance, 1e-20)
	switch s.variance {
	case varianceLarge:
		return sqrt32(beta)
	case varianceSmallLog:
		return exp32(0.5 * log32(variance))
	}
	return sqrt32(variance)
}
