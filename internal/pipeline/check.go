// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/prompt"
)

// Names of inputs and outputs, as diffusers and optimum export them.
const (
	inputIDs       = "input_ids"
	inputMask      = "attention_mask"
	outputStates   = "last_hidden_state"
	inputSample    = "sample"
	inputTimestep  = "timestep"
	inputStates    = "encoder_hidden_states"
	outputNoise    = "out_sample"
	inputLatents   = "latent_sample"
	outputPicture  = "sample"
	colourChannels = 3
)

// expectation is what an input or output of a graph must be.
type expectation struct {
	name     string
	optional bool
	// types that the elements may have.
	types []ort.ElementType
	// shape has the size that each dimension must allow; 0 is any.
	shape []int64
}

var (
	integers = []ort.ElementType{ort.TypeInt64, ort.TypeInt32}
	floats   = []ort.ElementType{ort.TypeFloat32, ort.TypeFloat16, ort.TypeFloat64}
)

// expectations are what the graph of each part must take and give, given what the
// configurations say.
func expectations(part string, c modelstore.Config, length int) (inputs, outputs []expectation) {
	channels := int64(c.UNet.InChannels)
	switch part {
	case modelstore.TextEncoder:
		ids := []int64{1, int64(length)}
		states := []int64{1, int64(length), int64(c.TextEncoder.HiddenSize)}
		return []expectation{{name: inputIDs, types: integers, shape: ids}, {name: inputMask, types: append(integers, ort.TypeBool), shape: ids, optional: true}},
			[]expectation{{name: outputStates, types: floats, shape: states}}
	case modelstore.UNet:
		// With guidance the network sees two samples at once, and without one: the
		// first dimension must not be fixed.
		sample := []int64{freeDimension, channels, 0, 0}
		states := []int64{freeDimension, int64(length), int64(c.UNet.CrossAttentionDim)}
		return []expectation{
				{name: inputSample, types: floats, shape: sample},
				{name: inputTimestep, types: append(integers, floats...)},
				{name: inputStates, types: floats, shape: states},
			},
			[]expectation{{name: outputNoise, types: floats, shape: sample}}
	}
	return []expectation{{name: inputLatents, types: floats, shape: []int64{1, int64(c.VAE.LatentChannels), 0, 0}}},
		[]expectation{{name: outputPicture, types: floats, shape: []int64{1, colourChannels, 0, 0}}}
}

// freeDimension in an expectation is a dimension that must not be fixed.
const freeDimension = -1

// checkGraph compares a graph with what is expected of its part. The error is a
// *ModelError that names file and input or output.
func checkGraph(part string, graph ort.Graph, c modelstore.Config, length int) error {
	file := modelstore.GraphFile(part)
	inputs, outputs := expectations(part, c, length)
	for _, input := range graph.Inputs {
		if !slices.ContainsFunc(inputs, func(e expectation) bool { return e.name == input.Name }) {
			return &ModelError{File: file, Field: "input " + input.Name, Message: "is not supported; supported are " + nameList(inputs)}
		}
	}
	for _, e := range inputs {
		value, ok := graph.Input(e.name)
		if message := e.mismatch(value, ok); message != "" {
			return &ModelError{File: file, Field: "input " + e.name, Message: message}
		}
	}
	for _, e := range outputs {
		value, ok := graph.Output(e.name)
		if message := e.mismatch(value, ok); message != "" {
			return &ModelError{File: file, Field: "output " + e.name, Message: message}
		}
	}
	if part == modelstore.UNet {
		return checkTimestep(file, graph)
	}
	return nil
}

// mismatch says how a value differs from the expectation; "" where it does not.
func (e expectation) mismatch(v ort.Value, there bool) string {
	switch {
	case !there && e.optional:
		return ""
	case !there:
		return "is missing"
	case !slices.Contains(e.types, v.Type):
		return fmt.Sprintf("has elements of %s; must be one of %v", v.Type, e.types)
	case e.shape == nil || v.Shape == nil:
		return ""
	case len(v.Shape) != len(e.shape):
		return fmt.Sprintf("has the shape %v; must have %d dimensions", v.Shape, len(e.shape))
	}
	for i, want := range e.shape {
		have := v.Shape[i]
		if want == freeDimension && have >= 0 {
			return fmt.Sprintf("has the shape %v; dimension %d must not be fixed (export with dynamic axes)", v.Shape, i)
		}
		if want > 0 && have >= 0 && have != want {
			return fmt.Sprintf("has the shape %v; dimension %d must be %d, which the configurations say, or not fixed", v.Shape, i, want)
		}
	}
	return ""
}

// checkTimestep allows the ways in which exporters pass the timestep.
func checkTimestep(file string, graph ort.Graph) error {
	v, _ := graph.Input(inputTimestep)
	if len(v.Shape) > 1 {
		return &ModelError{File: file, Field: "input " + inputTimestep, Message: fmt.Sprintf("has the shape %v; must be a scalar or a list", v.Shape)}
	}
	return nil
}

// checkConfig compares the configurations with each other. The error is a *ModelError.
func checkConfig(c modelstore.Config, tokenizer *prompt.Tokenizer) error {
	text, unet, vae := modelstore.ConfigFile(modelstore.TextEncoder), modelstore.ConfigFile(modelstore.UNet), modelstore.ConfigFile(modelstore.VAEDecoder)
	switch {
	case tokenizer.Size() > c.TextEncoder.VocabularySize:
		return mismatch(text, "vocab_size", c.TextEncoder.VocabularySize, "be at least %d, as tokenizer/vocab.json has ids up to %d", tokenizer.Size(), tokenizer.Size()-1)
	case tokenizer.MaxLength() > c.TextEncoder.Positions:
		return mismatch(text, "max_position_embeddings", c.TextEncoder.Positions, "be at least %d, the tokenizer's model_max_length", tokenizer.MaxLength())
	case c.UNet.CrossAttentionDim != c.TextEncoder.HiddenSize:
		return mismatch(unet, "cross_attention_dim", c.UNet.CrossAttentionDim, "be %d, the text encoder's hidden_size", c.TextEncoder.HiddenSize)
	case c.UNet.InChannels != c.VAE.LatentChannels:
		return mismatch(unet, "in_channels", c.UNet.InChannels,
			"be %d, the latent_channels of %s (other numbers are inpainting and the like, which are not supported)", c.VAE.LatentChannels, vae)
	}
	return nil
}

func mismatch(file, field string, value int, want string, args ...any) error {
	return &ModelError{File: file, Field: field, Message: fmt.Sprintf("is %d; must ", value) + fmt.Sprintf(want, args...)}
}

func nameList(list []expectation) string {
	names := make([]string, 0, len(list))
	for _, e := range list {
		names = append(names, e.name)
	}
	return strings.Join(names, ", ")
}
