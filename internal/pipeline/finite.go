// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"

	"github.com/atelier-dev/atelier/internal/modelstore"
)

// checkFinite refuses numbers that no picture can be made of.
func checkFinite(values []float32) error {
	for _, v := range values {
		if v-v != 0 { // So only for infinities and NaN.
			return fmt.Errorf("found %v, which is no number to go on with", v)
		}
	}
	return nil
}

// checkOutput blames the graph of a part for such numbers: for the same request it gives
// them again. The error is a *ModelError.
func checkOutput(part, output string, values []float32) error {
	if err := checkFinite(values); err != nil {
		message := fmt.Sprintf("%v; the weights may be damaged, or overflow their type: try an export in float32", err)
		return &ModelError{File: modelstore.GraphFile(part), Field: "output " + output, Message: message}
	}
	return nil
}
