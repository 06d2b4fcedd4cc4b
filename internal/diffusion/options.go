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
	return o.choice(fieldPrediction, predictEpsilon, predictVelocity, predictSample)
}

// readNoisePrediction reads it for classes that can't do with the picture.
func readNoisePrediction(o *options) string {
	return o.choice(fieldPrediction, predictEpsilon, predictVelocity)
}

const fieldPrediction = "prediction_type"

// StepsError refuses a number of steps that the scheduler can't take.
type StepsError struct{ Steps, Least, Most int }

// Error says what would be right.
func (e *StepsError) Error() string {
	return fmt.Sprintf("%d steps: must be from %d to %d", e.Steps, e.Least, e.Most)
}

// bending replaces the sigmas of a run by others between the same ends.
type bending struct {
	karras, exponential bool
	// least and most override the ends.
	least, most *float64
}

// readBending reads which sigmas are asked for.
func readBending(o *options) bending {
	b := bending{karras: o.flag("use_karras_sigmas"), exponential: o.flag("use_exponential_sigmas")}
	o.refuse("use_beta_sigmas", false)
	if b.karras && b.exponential {
		o.fail("use_exponential_sigmas", "can't be true together with use_karras_sigmas")
	}
	return b
}

// readEnds reads the ends where a class lets its configuration override them.
func (b *bending) readEnds(o *options) {
	b.least, b.most = o.optionalSigma("sigma_min"), o.optionalSigma("sigma_max")
}

// bent says that there are other sigmas.
func (b bending) bent() bool { return b.karras || b.exponential }

// sigmas falls from most to least.
func (b bending) sigmas(most, least float64, steps int) []float64 {
	most, least = override(b.most, most), override(b.least, least)
	if b.karras {
		return karrasSigmas(most, least, steps)
	}
	return exponentialSigmas(most, least, steps)
}

func override(value *float64, otherwise float64) float64 {
	if value != nil {
		return *value
	}
	return otherwise
}

// readEndsAtLeast reads whether a run ends with the least noise of the training in place
// of none.
func readEndsAtLeast(o *options) bool {
	return o.choice("final_sigmas_type", "zero", "sigma_min") == "sigma_min"
}
