// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Files of a model in the diffusers ONNX layout.
const (
	IndexFile       = "model_index.json"
	SchedulerFile   = "scheduler/scheduler_config.json"
	TextEncoder     = "text_encoder"
	UNet            = "unet"
	VAEDecoder      = "vae_decoder"
	tokenizerFolder = "tokenizer/"
)

// GraphFile is the ONNX file of a part, such as unet/model.onnx.
func GraphFile(part string) string { return part + "/model.onnx" }

// ConfigFile is the configuration of a part, such as unet/config.json.
func ConfigFile(part string) string { return part + "/config.json" }

// TokenizerFile is a file of the tokenizer.
func TokenizerFile(name string) string { return tokenizerFolder + name }

// Config is what the configurations of a model say of its parts, within sane bounds.
type Config struct {
	// Class of the pipeline in model_index.json.
	Class       string
	TextEncoder TextEncoderConfig
	UNet        UNetConfig
	VAE         VAEConfig
}

// TextEncoderConfig is what matters of text_encoder/config.json.
type TextEncoderConfig struct {
	// HiddenSize is the width of the text embeddings.
	HiddenSize int `json:"hidden_size"`
	// VocabularySize is the number of token ids that the encoder knows.
	VocabularySize int `json:"vocab_size"`
	// Positions is the longest sequence of token ids.
	Positions int `json:"max_position_embeddings"`
	// UseAttentionMask says that padding was hidden from the encoder in training.
	UseAttentionMask bool `json:"use_attention_mask"`
}

// UNetConfig is what matters of unet/config.json.
type UNetConfig struct {
	// SampleSize is the side of the latents that the model was trained for.
	SampleSize int `json:"sample_size"`
	// InChannels is the number of latent channels.
	InChannels int `json:"in_channels"`
	// CrossAttentionDim is the width of the text embeddings.
	CrossAttentionDim int `json:"cross_attention_dim"`
}

// VAEConfig is what matters of vae_decoder/config.json.
type VAEConfig struct {
	// LatentChannels is the number of latent channels.
	LatentChannels int `json:"latent_channels"`
	// BlockOutChannels has an entry for each resolution.
	BlockOutChannels []int `json:"block_out_channels"`
	// ScalingFactor is what latents were multiplied with after encoding.
	ScalingFactor float64 `json:"scaling_factor"`
	// ShiftFactor is what was taken off latents before that; mostly nothing.
	ShiftFactor *float64 `json:"shift_factor"`
}

// Scale is how many pixels a latent covers in each direction: each resolution after the
// first doubles it.
func (c VAEConfig) Scale() int { return 1 << (len(c.BlockOutChannels) - 1) }

// Shift is ShiftFactor, or 0 without one.
func (c VAEConfig) Shift() float64 {
	if c.ShiftFactor == nil {
		return 0
	}
	return *c.ShiftFactor
}

// ReadConfig reads and checks the configurations of a model. A defect is a *ModelError.
func (d *Directory) ReadConfig() (Config, error) {
	var c Config
	if err := d.readIndex(&c); err != nil {
		return Config{}, err
	}
	// The defaults are those of transformers and diffusers for a field left out.
	c.VAE.ScalingFactor = 0.18215
	for _, part := range []struct {
		name string
		into any
	}{{TextEncoder, &c.TextEncoder}, {UNet, &c.UNet}, {VAEDecoder, &c.VAE}} {
		if err := d.readJSON(ConfigFile(part.name), part.into); err != nil {
			return Config{}, err
		}
	}
	return c, c.check()
}

// readIndex reads which parts the model has, and refuses those that would be left out
// of the picture.
func (d *Directory) readIndex(c *Config) error {
	var index map[string]json.RawMessage
	if err := d.readJSON(IndexFile, &index); err != nil {
		return err
	}
	if raw, ok := index["_class_name"]; !ok || json.Unmarshal(raw, &c.Class) != nil || c.Class == "" {
		return &ModelError{File: IndexFile, Field: "_class_name", Message: "must name a pipeline class, such as StableDiffusionPipeline"}
	}
	for _, part := range []string{"text_encoder", "tokenizer", "unet", "scheduler"} {
		if !present(index[part]) {
			return &ModelError{File: IndexFile, Field: part, Message: "must name the library and class of this part, but it is missing or null"}
		}
	}
	for _, part := range []string{"text_encoder_2", "tokenizer_2", "text_encoder_3", "transformer", "prior", "controlnet"} {
		if present(index[part]) {
			return &ModelError{File: IndexFile, Field: part, Message: "models with this part are not supported; supported are models like Stable Diffusion 1 and 2"}
		}
	}
	return nil
}

// present says whether the index has a part: [library, class], neither of them null.
func present(raw json.RawMessage) bool {
	var names []*string
	return json.Unmarshal(raw, &names) == nil && len(names) == 2 && names[0] != nil && names[1] != nil
}

// check holds every number within bounds that no model exceeds, so that none can ask for
// absurd amounts of memory.
func (c Config) check() error {
	for _, n := range []struct {
		part, field string
		value, most int
	}{
		{TextEncoder, "hidden_size", c.TextEncoder.HiddenSize, 1 << 14},
		{TextEncoder, "vocab_size", c.TextEncoder.VocabularySize, 1 << 20},
		{TextEncoder, "max_position_embeddings", c.TextEncoder.Positions, 1 << 12},
		{UNet, "sample_size", c.UNet.SampleSize, 1 << 10},
		{UNet, "in_channels", c.UNet.InChannels, 1 << 8},
		{UNet, "cross_attention_dim", c.UNet.CrossAttentionDim, 1 << 14},
		{VAEDecoder, "latent_channels", c.VAE.LatentChannels, 1 << 8},
		{VAEDecoder, "block_out_channels", len(c.VAE.BlockOutChannels), 8},
	} {
		if n.value < 1 || n.value > n.most {
			what := "is"
			if n.field == "block_out_channels" {
				what = "has a length of"
			}
			return &ModelError{File: ConfigFile(n.part), Field: n.field, Message: fmt.Sprintf("%s %d; must be from 1 to %d", what, n.value, n.most)}
		}
	}
	if !(c.VAE.ScalingFactor > 1e-6 && c.VAE.ScalingFactor < 1e6) {
		return &ModelError{File: ConfigFile(VAEDecoder), Field: "scaling_factor", Message: fmt.Sprintf("is %v; must be a positive number, such as 0.18215", c.VAE.ScalingFactor)}
	}
	if s := c.VAE.Shift(); !(s > -1e6 && s < 1e6) {
		return &ModelError{File: ConfigFile(VAEDecoder), Field: "shift_factor", Message: fmt.Sprintf("is %v; must be a small number or null", s)}
	}
	return nil
}

// kindName says in a reader's words what a field must be.
func kindName(e *json.UnmarshalTypeError) string {
	switch e.Type.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a " + strings.ToLower(e.Type.Kind().String())
}
