// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Files of a model in the diffusers ONNX layout.
const (
	IndexFile     = "model_index.json"
	SchedulerFile = "scheduler/scheduler_config.json"
	TextEncoder   = "text_encoder"
	TextEncoder2  = "text_encoder_2"
	UNet          = "unet"
	VAEDecoder    = "vae_decoder"
	VAEEncoder    = "vae_encoder"
	Tokenizer     = "tokenizer"
	Tokenizer2    = "tokenizer_2"
)

// GraphFile is the ONNX file of a part, such as unet/model.onnx.
func GraphFile(part string) string { return part + "/model.onnx" }

// ConfigFile is the configuration of a part, such as unet/config.json.
func ConfigFile(part string) string { return part + "/config.json" }

// TokenizerFile is a file of a tokenizer, such as tokenizer_2/vocab.json.
func TokenizerFile(tokenizer, name string) string { return tokenizer + "/" + name }

// Config is what the configurations of a model say of its parts, within sane bounds.
type Config struct {
	// Class of the pipeline in model_index.json.
	Class string
	// Bare says that the parts have no configurations: the graphs must tell the sizes.
	Bare bool
	// ForceZeros says that without a negative prompt the network sees zeros in its
	// place, and not the embeddings of an empty prompt; only with two text encoders.
	ForceZeros  bool
	TextEncoder TextEncoderConfig
	// TextEncoder2 is the second text encoder of Stable Diffusion XL, nil without one.
	TextEncoder2 *TextEncoderConfig
	UNet         UNetConfig
	VAE          VAEConfig
}

// TextEncoderConfig is what matters of text_encoder/config.json. Without the file, as the
// oldest exporter leaves it, what is 0 is not known.
type TextEncoderConfig struct {
	// HiddenSize is the width of the text embeddings.
	HiddenSize int `json:"hidden_size"`
	// VocabularySize is the number of token ids that the encoder knows.
	VocabularySize int `json:"vocab_size"`
	// Positions is the longest sequence of token ids.
	Positions int `json:"max_position_embeddings"`
	// UseAttentionMask says that padding was hidden from the encoder in training.
	UseAttentionMask bool `json:"use_attention_mask"`
	// Layers is the number of transformer layers.
	Layers int `json:"num_hidden_layers"`
	// ProjectionDim is the width of the pooled embeddings, 0 where it is not stated.
	ProjectionDim int `json:"projection_dim"`
	// LayerNormEpsilon keeps the last normalization from dividing by zero.
	LayerNormEpsilon float64 `json:"layer_norm_eps"`
}

// UNetConfig is what matters of unet/config.json.
type UNetConfig struct {
	// SampleSize is the side of the latents that the model was trained for.
	SampleSize int `json:"sample_size"`
	// InChannels is the number of latent channels.
	InChannels int `json:"in_channels"`
	// BlockOutChannels has an entry for each resolution; nil where it is not stated.
	BlockOutChannels []int `json:"block_out_channels"`
	// CrossAttentionDim is the width of the text embeddings.
	CrossAttentionDim int `json:"cross_attention_dim"`
	// TimeCondDim is the width in which the network takes the guidance scale: that of a
	// latent consistency model. 0 is none.
	TimeCondDim int `json:"time_cond_proj_dim"`
	// AdditionTimeDim is the width that each number of time_ids takes, and
	// AdditionInputDim that of all of them with the pooled embeddings; 0 without them.
	AdditionTimeDim  int `json:"addition_time_embed_dim"`
	AdditionInputDim int `json:"projection_class_embeddings_input_dim"`
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
	// LatentsMean and LatentsStd take the place of ShiftFactor for each channel of latents,
	// where both are stated.
	LatentsMean []float64 `json:"latents_mean"`
	LatentsStd  []float64 `json:"latents_std"`
	// SampleSize is the side of the pictures that the VAE was trained for, in pixels; 0
	// where it is not stated.
	SampleSize int `json:"sample_size"`
}

// Scale is how many pixels a latent covers in each direction: each resolution after the
// first doubles it.
func (c VAEConfig) Scale() int { return 1 << (len(c.BlockOutChannels) - 1) }

// TrainedSide is SampleSize, or without one what it is for Stable Diffusion 1.
func (c VAEConfig) TrainedSide() int {
	if c.SampleSize == 0 {
		return 512
	}
	return c.SampleSize
}

// Shift is ShiftFactor, or 0 without one.
func (c VAEConfig) Shift() float64 {
	if c.ShiftFactor == nil {
		return 0
	}
	return *c.ShiftFactor
}

// SizeMultiple is what the width and the height of pictures must be multiples of, in
// pixels. The VAE halves a picture with each resolution after the first, and so does the
// denoising network with the latents: in torch it can also halve odd numbers and come back
// to them, but an exported graph only doubles what it halved.
func (c Config) SizeMultiple() int {
	return c.VAE.Scale() << max(len(c.UNet.BlockOutChannels)-1, 0)
}

// ReadConfig reads and checks the configurations of a model. A defect is a *ModelError.
// Where no part has one, as the oldest exporter leaves it, they are what this exporter's
// own pipeline takes for granted, and 0 where the graphs must say.
func (d *Directory) ReadConfig() (Config, error) {
	var c Config
	if err := d.readIndex(&c); err != nil {
		return Config{}, err
	}
	parts := []struct {
		name string
		into any
	}{{TextEncoder, &c.TextEncoder}, {UNet, &c.UNet}, {VAEDecoder, &c.VAE}}
	// The defaults are those of transformers and diffusers for a field left out.
	c.TextEncoder.LayerNormEpsilon = 1e-5
	c.VAE.ScalingFactor = 0.18215
	if c.TextEncoder2 != nil {
		c.TextEncoder2.LayerNormEpsilon = 1e-5
		parts = append(parts, struct {
			name string
			into any
		}{TextEncoder2, c.TextEncoder2})
	}
	bare := true
	for _, part := range parts {
		data, err := d.ReadOptional(ConfigFile(part.name))
		if err != nil {
			return Config{}, err
		}
		bare = bare && data == nil
	}
	if bare {
		c.Bare, c.UNet.SampleSize, c.VAE.BlockOutChannels = true, 64, make([]int, 4)
		return c, nil
	}
	for _, part := range parts {
		if err := d.readJSON(ConfigFile(part.name), part.into); err != nil {
			return Config{}, err
		}
	}
	return c, c.Check()
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
	for _, word := range []string{"Inpaint", "ControlNet", "Upscale", "InstructPix2Pix"} {
		if strings.Contains(c.Class, word) {
			return &ModelError{File: IndexFile, Field: "_class_name", Message: fmt.Sprintf("is %s; supported are pipelines from text to image and from image to image", c.Class)}
		}
	}
	for _, part := range []string{"text_encoder_3", "transformer", "prior", "controlnet", "adapter"} {
		if present(index[part]) {
			return &ModelError{File: IndexFile, Field: part, Message: "models with this part are not supported; supported are models like Stable Diffusion 1, 2 and XL"}
		}
	}
	if !present(index[TextEncoder]) && present(index[TextEncoder2]) {
		return &ModelError{File: IndexFile, Field: TextEncoder, Message: "is missing or null beside text_encoder_2, as in a refiner; refiners are not supported, use the base model"}
	}
	for _, part := range []string{TextEncoder, Tokenizer, UNet, "scheduler"} {
		if !present(index[part]) {
			return &ModelError{File: IndexFile, Field: part, Message: "must name the library and class of this part, but it is missing or null"}
		}
	}
	return readSecondEncoder(index, c)
}

// readSecondEncoder takes over what the index says of a second text encoder.
func readSecondEncoder(index map[string]json.RawMessage, c *Config) error {
	encoder, tokenizer := present(index[TextEncoder2]), present(index[Tokenizer2])
	switch {
	case encoder && !tokenizer:
		return &ModelError{File: IndexFile, Field: Tokenizer2, Message: "must name the library and class of this part, as text_encoder_2 is there"}
	case tokenizer && !encoder:
		return &ModelError{File: IndexFile, Field: TextEncoder2, Message: "must name the library and class of this part, as tokenizer_2 is there"}
	case encoder:
		c.TextEncoder2 = &TextEncoderConfig{}
		c.ForceZeros = true // Unless the index says otherwise.
	}
	const field = "force_zeros_for_empty_prompt"
	if raw, ok := index[field]; ok && encoder && json.Unmarshal(raw, &c.ForceZeros) != nil {
		return &ModelError{File: IndexFile, Field: field, Message: fmt.Sprintf("is %s; must be true or false", raw)}
	}
	return nil
}

// present says whether the index has a part: [library, class], neither of them null.
func present(raw json.RawMessage) bool {
	var names []*string
	return json.Unmarshal(raw, &names) == nil && len(names) == 2 && names[0] != nil && names[1] != nil
}

// bound is a number of a configuration and the largest that any model has.
type bound struct {
	part, field string
	value, most int
	// optional numbers may be 0.
	optional bool
}

// blocksField is a list whose length is bounded.
const blocksField = "block_out_channels"

// bounds of the numbers of the parts.
func (c Config) bounds() []bound {
	list := textBounds(TextEncoder, c.TextEncoder, c.Bare)
	if c.TextEncoder2 != nil {
		list = append(list, textBounds(TextEncoder2, *c.TextEncoder2, c.Bare)...)
	}
	return append(list, []bound{
		{UNet, "sample_size", c.UNet.SampleSize, 1 << 10, false},
		{UNet, "in_channels", c.UNet.InChannels, 1 << 8, false},
		{UNet, blocksField, len(c.UNet.BlockOutChannels), 8, true},
		{UNet, "cross_attention_dim", c.UNet.CrossAttentionDim, 1 << 14, false},
		{UNet, "time_cond_proj_dim", c.UNet.TimeCondDim, 1 << 14, true},
		{UNet, "addition_time_embed_dim", c.UNet.AdditionTimeDim, 1 << 14, true},
		{UNet, "projection_class_embeddings_input_dim", c.UNet.AdditionInputDim, 1 << 16, true},
		{VAEDecoder, "latent_channels", c.VAE.LatentChannels, 1 << 8, false},
		{VAEDecoder, "sample_size", c.VAE.SampleSize, 1 << 14, true},
		{VAEDecoder, blocksField, len(c.VAE.BlockOutChannels), 8, false},
	}...)
}

func textBounds(part string, c TextEncoderConfig, bare bool) []bound {
	return []bound{
		{part, "hidden_size", c.HiddenSize, 1 << 14, false},
		{part, "vocab_size", c.VocabularySize, 1 << 20, bare},
		{part, "max_position_embeddings", c.Positions, 1 << 12, bare},
		{part, "num_hidden_layers", c.Layers, 1 << 10, true},
		{part, "projection_dim", c.ProjectionDim, 1 << 14, true},
	}
}

// Check holds every number within bounds that no model exceeds, so that none can ask for
// absurd amounts of memory. The error is a *ModelError.
func (c Config) Check() error {
	for _, n := range c.bounds() {
		least := 1
		if n.optional {
			least = 0
		}
		if n.value < least || n.value > n.most {
			what := "is"
			if n.field == blocksField {
				what = "has a length of"
			}
			return &ModelError{File: ConfigFile(n.part), Field: n.field, Message: fmt.Sprintf("%s %d; must be from %d to %d", what, n.value, least, n.most)}
		}
	}
	if e := c.TextEncoder.LayerNormEpsilon; !(e >= 0 && e < 1) {
		return &ModelError{File: ConfigFile(TextEncoder), Field: "layer_norm_eps", Message: fmt.Sprintf("is %v; must be a small number, such as 0.00001", e)}
	}
	if !(c.VAE.ScalingFactor > 1e-6 && c.VAE.ScalingFactor < 1e6) {
		return &ModelError{File: ConfigFile(VAEDecoder), Field: "scaling_factor", Message: fmt.Sprintf("is %v; must be a positive number, such as 0.18215", c.VAE.ScalingFactor)}
	}
	if err := c.VAE.checkStatistics(); err != nil {
		return err
	}
	if s := c.VAE.Shift(); !(s > -1e6 && s < 1e6) {
		return &ModelError{File: ConfigFile(VAEDecoder), Field: "shift_factor", Message: fmt.Sprintf("is %v; must be a small number or null", s)}
	}
	return nil
}

// checkStatistics checks the mean and the deviation of latents.
func (c VAEConfig) checkStatistics() error {
	for _, list := range []struct {
		field  string
		values []float64
		least  float64
	}{{"latents_mean", c.LatentsMean, -1e6}, {"latents_std", c.LatentsStd, 1e-6}} {
		outside := func(v float64) bool { return !(v >= list.least && v <= 1e6) }
		if list.values != nil && (len(list.values) != c.LatentChannels || slices.ContainsFunc(list.values, outside)) {
			message := fmt.Sprintf("is %v; must be null or have %d numbers from %g to 1000000, one for each of latent_channels", list.values, c.LatentChannels, list.least)
			return &ModelError{File: ConfigFile(VAEDecoder), Field: list.field, Message: message}
		}
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
