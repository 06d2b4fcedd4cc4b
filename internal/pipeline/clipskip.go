// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"math"
	"slices"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// layerNorm is the normalization at the end of a text encoder, which has to be done here
// for embeddings that are taken before it.
type layerNorm struct {
	weight, bias []float32
	epsilon      float64
}

// readNorm reads the last normalization of the text encoder in a file. It gives nil where
// the export does not tell its weights by name.
func readNorm(file string, c modelstore.TextEncoderConfig) (*layerNorm, error) {
	norm := layerNorm{epsilon: c.LayerNormEpsilon}
	for _, part := range []struct {
		suffix string
		into   *[]float32
	}{{"final_layer_norm.weight", &norm.weight}, {"final_layer_norm.bias", &norm.bias}} {
		var err error
		if *part.into, err = ort.ReadWeight(file, part.suffix); err != nil {
			return nil, &ModelError{File: modelstore.GraphFile(modelstore.TextEncoder), Message: err.Error(), Err: err}
		}
		if len(*part.into) != c.HiddenSize {
			return nil, nil
		}
	}
	return &norm, nil
}

// apply normalizes rows of embeddings in place: to mean 0 and variance 1, then times
// weight plus bias.
func (n *layerNorm) apply(states []float32) {
	width := len(n.weight)
	for ; len(states) >= width; states = states[width:] {
		row := states[:width]
		var mean, variance float64
		for _, v := range row {
			mean += float64(v)
		}
		mean /= float64(width)
		for _, v := range row {
			variance += (float64(v) - mean) * (float64(v) - mean)
		}
		scale := 1 / math.Sqrt(variance/float64(width)+n.epsilon)
		for i, v := range row {
			row[i] = float32((float64(v)-mean)*scale*float64(n.weight[i]) + float64(n.bias[i]))
		}
	}
}

// checkClipSkip says whether as many layers can be left out at the end of the text
// encoders. The error is a *RequestError.
func (p parts) checkClipSkip(skip int) error {
	if skip == 0 {
		return nil
	}
	refuse := func(format string, args ...any) error {
		return &RequestError{"clipSkip", skip, fmt.Sprintf(format, args...)}
	}
	most := math.MaxInt
	for _, encoder := range p.encoders() {
		most = min(most, encoder.mostSkipped())
	}
	if skip < 0 || most > 0 && skip > most {
		return refuse("must be from 0 to %d for this model", most)
	}
	for _, encoder := range p.encoders() {
		if most < 1 || !slices.Contains(encoder.outputs, encoder.stateOutput(skip)) {
			return refuse("%s gives the result of its last layer alone, so that this must be 0; export it with output_hidden_states for others", modelstore.GraphFile(encoder.part))
		}
	}
	if p.config.TextEncoder2 == nil && p.norm == nil {
		return refuse("%s does not name the weights of its last normalization, so that this must be 0; "+
			"export it with final_layer_norm.weight and final_layer_norm.bias for others", modelstore.GraphFile(modelstore.TextEncoder))
	}
	return nil
}
