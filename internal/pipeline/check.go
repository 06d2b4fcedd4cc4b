// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/prompt"
)

// Names of inputs and outputs, as diffusers and optimum export them.
const (
	inputIDs      = "input_ids"
	inputMask     = "attention_mask"
	outputStates  = "last_hidden_state"
	inputSample   = "sample"
	inputTimestep = "timestep"
	inputStates   = "encoder_hidden_states"
	outputNoise   = "out_sample"
	inputLatents  = "latent_sample"
	outputPicture = "sample"
	// Of models with two text encoders.
	outputHidden = "hidden_states."
	outputPooled = "text_embeds"
	inputPooled  = "text_embeds"
	inputTimeIDs = "time_ids"
	// Of latent consistency models.
	inputGuidance = "timestep_cond"
	// Of the encoder of pictures: mean and logarithm of the variance, or, in older
	// exports, latents that were drawn inside the graph.
	inputPicture     = "sample"
	outputParameters = "latent_parameters"
	outputLatents    = "latent_sample"
	colourChannels   = 3
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
func expectations(part string, graph ort.Graph, c modelstore.Config, length int) (inputs, outputs []expectation) {
	switch part {
	case modelstore.TextEncoder:
		states := outputStates
		if c.TextEncoder2 != nil {
			states = penultimate(c.TextEncoder.Layers)
		}
		return textInputs(length), []expectation{{name: states, types: floats, shape: []int64{1, int64(length), int64(c.TextEncoder.HiddenSize)}}}
	case modelstore.TextEncoder2:
		return textInputs(length), []expectation{
			{name: penultimate(c.TextEncoder2.Layers), types: floats, shape: []int64{1, int64(length), int64(c.TextEncoder2.HiddenSize)}},
			{name: outputPooled, types: floats, shape: []int64{1, 0}},
		}
	case modelstore.UNet:
		// With guidance the network sees two samples at once, and without one: the
		// first dimension must not be fixed.
		sample := []int64{freeDimension, int64(c.UNet.InChannels), 0, 0}
		extra := []int64{freeDimension, 0}
		return []expectation{
				{name: inputSample, types: floats, shape: sample},
				{name: inputTimestep, types: append(integers, floats...)},
				{name: inputStates, types: floats, shape: []int64{freeDimension, int64(length), int64(c.UNet.CrossAttentionDim)}},
				{name: inputPooled, types: floats, shape: extra, optional: true},
				{name: inputTimeIDs, types: append(floats, integers...), shape: extra, optional: true},
				{name: inputGuidance, types: floats, shape: []int64{1, 0}, optional: true},
			},
			[]expectation{{name: outputNoise, types: floats, shape: sample}}
	case modelstore.VAEEncoder:
		latents := expectation{name: outputParameters, types: floats, shape: []int64{1, 2 * int64(c.VAE.LatentChannels), 0, 0}}
		if _, ok := graph.Output(outputLatents); ok {
			latents = expectation{name: outputLatents, types: floats, shape: []int64{1, int64(c.VAE.LatentChannels), 0, 0}}
		}
		return []expectation{{name: inputPicture, types: floats, shape: []int64{1, colourChannels, 0, 0}}}, []expectation{latents}
	}
	return []expectation{{name: inputLatents, types: floats, shape: []int64{1, int64(c.VAE.LatentChannels), 0, 0}}},
		[]expectation{{name: outputPicture, types: floats, shape: []int64{1, colourChannels, 0, 0}}}
}

// textInputs are what a text encoder takes.
func textInputs(length int) []expectation {
	ids := []int64{1, int64(length)}
	return []expectation{
		{name: inputIDs, types: integers, shape: ids},
		{name: inputMask, types: append(integers, ort.TypeBool), shape: ids, optional: true},
	}
}

// computed names the outputs of a part that are made use of.
func computed(part string, graph ort.Graph, c modelstore.Config) []string {
	_, outputs := expectations(part, graph, c, 0)
	names := make([]string, 0, len(outputs))
	for _, e := range outputs {
		names = append(names, e.name)
	}
	if part != modelstore.TextEncoder && part != modelstore.TextEncoder2 {
		return names
	}
	count := c.TextEncoder.Layers
	if part == modelstore.TextEncoder2 {
		count = c.TextEncoder2.Layers
	}
	for i := range count { // For skipped layers; what the last one gives is never among them.
		name := outputHidden + strconv.Itoa(i)
		if _, ok := graph.Output(name); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// penultimate names the output before a text encoder's last layer. The first of these
// outputs is what goes into the first layer.
func penultimate(layers int) string { return outputHidden + strconv.Itoa(max(layers-1, 0)) }

// layers counts a text encoder's layers by the outputs of its graph; without such
// outputs they are as many as its configuration says.
func layers(graph ort.Graph, configured int) int {
	last := -1
	for _, v := range graph.Outputs {
		if number, ok := strings.CutPrefix(v.Name, outputHidden); ok {
			if n, err := strconv.Atoi(number); err == nil {
				last = max(last, n)
			}
		}
	}
	if last < 0 {
		return configured
	}
	return last
}

// freeDimension in an expectation is a dimension that must not be fixed.
const freeDimension = -1

// checkGraph compares a graph with what is expected of its part. The error is a
// *ModelError that names file and input or output.
func checkGraph(part string, graph ort.Graph, c modelstore.Config, length int) error {
	file := modelstore.GraphFile(part)
	inputs, outputs := expectations(part, graph, c, length)
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

// checkConfig compares the configurations with each other and with the tokenizers, of
// which the second may be nil. The error is a *ModelError.
func checkConfig(c modelstore.Config, tokenizer, tokenizer2 *prompt.Tokenizer) error {
	unet, vae := modelstore.ConfigFile(modelstore.UNet), modelstore.ConfigFile(modelstore.VAEDecoder)
	if err := checkTokenizer(modelstore.TextEncoder, c.TextEncoder, modelstore.Tokenizer, tokenizer); err != nil {
		return err
	}
	width, whose := c.TextEncoder.HiddenSize, "the text encoder's hidden_size"
	if c.TextEncoder2 != nil {
		if err := checkTokenizer(modelstore.TextEncoder2, *c.TextEncoder2, modelstore.Tokenizer2, tokenizer2); err != nil {
			return err
		}
		if tokenizer2.MaxLength() != tokenizer.MaxLength() {
			file := modelstore.TokenizerFile(modelstore.Tokenizer2, prompt.ConfigFile)
			return mismatch(file, "model_max_length", tokenizer2.MaxLength(), "be %d, as in %s", tokenizer.MaxLength(), modelstore.Tokenizer)
		}
		width, whose = width+c.TextEncoder2.HiddenSize, "the sum of both text encoders' hidden_size"
	}
	switch {
	case c.UNet.CrossAttentionDim != width:
		return mismatch(unet, "cross_attention_dim", c.UNet.CrossAttentionDim, "be %d, %s", width, whose)
	case c.UNet.InChannels != c.VAE.LatentChannels:
		return mismatch(unet, "in_channels", c.UNet.InChannels,
			"be %d, the latent_channels of %s (other numbers are inpainting and the like, which are not supported)", c.VAE.LatentChannels, vae)
	}
	return nil
}

// checkTokenizer compares a text encoder's configuration, where there is one, with the
// tokenizer that belongs to it.
func checkTokenizer(part string, c modelstore.TextEncoderConfig, folder string, tokenizer *prompt.Tokenizer) error {
	file := modelstore.ConfigFile(part)
	switch {
	case c.VocabularySize > 0 && tokenizer.Size() > c.VocabularySize:
		return mismatch(file, "vocab_size", c.VocabularySize, "be at least %d, as %s/vocab.json has ids up to %d", tokenizer.Size(), folder, tokenizer.Size()-1)
	case c.Positions > 0 && tokenizer.MaxLength() > c.Positions:
		return mismatch(file, "max_position_embeddings", c.Positions, "be at least %d, the tokenizer's model_max_length", tokenizer.MaxLength())
	}
	return nil
}

// complete takes from the graphs how many layers the text encoders have, and what models
// without configurations leave open; for what the graphs don't say either, what the
// oldest exporter's pipeline takes for granted.
// The error is a *ModelError.
func complete(c modelstore.Config, graphs map[string]graphFile) (modelstore.Config, error) {
	c.TextEncoder.Layers = layers(graphs[modelstore.TextEncoder].Graph, c.TextEncoder.Layers)
	if c.TextEncoder2 != nil {
		second := *c.TextEncoder2
		second.Layers = layers(graphs[modelstore.TextEncoder2].Graph, second.Layers)
		c.TextEncoder2 = &second
	}
	if !c.Bare {
		return c, nil
	}
	if c.TextEncoder2 != nil {
		return c, &ModelError{File: modelstore.ConfigFile(modelstore.TextEncoder2), Message: "is missing"}
	}
	states, _ := graphs[modelstore.UNet].Input(inputStates)
	sample, _ := graphs[modelstore.UNet].Input(inputSample)
	latents, _ := graphs[modelstore.VAEDecoder].Input(inputLatents)
	const usualChannels = 4
	c.UNet.CrossAttentionDim = fixed(states, 2, 0)
	c.TextEncoder.HiddenSize = c.UNet.CrossAttentionDim
	c.VAE.LatentChannels = fixed(latents, 1, usualChannels)
	c.UNet.InChannels = fixed(sample, 1, c.VAE.LatentChannels)
	return c, c.Check()
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
