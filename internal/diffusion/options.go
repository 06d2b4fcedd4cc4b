// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import "fmt"

// What a network can have been trained to predict.
const (
	predictEpsilon  = "epsilon"
	predictVelocity = "v_prediction"
	predictSample   = "sample"
)

// readPrediction reads what the network predicts: the noise, the velocity or the picture.
func readPrediction(o *options) string {
	return o.choice("prediction_type", predictEpsilon, predictVelocity, predictSample)
}

// StepsError refuses a number of steps that the scheduler can't take.
type StepsError struct{ Steps, Most int }

// Error says what would be right.
func (e *StepsError) Error() string {
	return fmt.Sprintf("%d steps: must be from 1 to %d", e.Steps, e.Most)
}

// sigmaSchedule says how the noise falls from step to step.
type sigmaSchedule struct {
	logLinear   bool
	karras      bool
	exponential bool
	// least and most override the ends of karras and exponential.
	least, most *float64
	// endAtLeast ends with the least noise of the training in place of none.
	endAtLeast bool
}

// readSigmaSchedule reads the options of schedulers that think in sigmas.
func readSigmaSchedule(o *options) sigmaSchedule {
	s := sigmaSchedule{
		logLinear:   o.choice("interpolation_type", "linear", "log_linear") == "log_linear",
		karras:      o.flag("use_karras_sigmas"),
		exponential: o.flag("use_exponential_sigmas"),
		least:       o.optionalReal("sigma_min"),
		most:        o.optionalReal("sigma_max"),
		endAtLeast:  o.choice("final_sigmas_type", "zero", "sigma_min") == "sigma_min",
	}
	o.refuse("use_beta_sigmas", false)
	if s.karras && s.exponential {
		o.fail("use_exponential_sigmas", "can't be true together with use_karras_sigmas")
	}
	return s
}

// sigmas gives the noise at each timestep and at the end. Karras and exponential sigmas
// bring timesteps of their own.
func (s sigmaSchedule) sigmas(train training, timesteps []float64, steps int) ([]float32, []float64) {
	table := train.sigmas()
	sigmas := interpolate(table, timesteps)
	if s.logLinear {
		sigmas = logLinearSigmas(table, steps)
	}
	most, least := override(s.most, sigmas[0]), override(s.least, sigmas[len(sigmas)-1])
	switch {
	case s.karras:
		sigmas = karrasSigmas(most, least, steps)
		timesteps = sigmaTimesteps(table, sigmas)
	case s.exponential:
		sigmas = exponentialSigmas(most, least, steps)
		timesteps = sigmaTimesteps(table, sigmas)
	}
	out := make([]float32, 0, len(sigmas)+1)
	for _, v := range sigmas {
		out = append(out, float32(v))
	}
	if s.endAtLeast {
		return append(out, table[0]), timesteps
	}
	return append(out, 0), timesteps
}

func override(value *float64, otherwise float64) float64 {
	if value != nil {
		return *value
	}
	return otherwise
}
