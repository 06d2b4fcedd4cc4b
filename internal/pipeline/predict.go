// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// conditioning is what the denoising network sees of the prompts. The first dimension
// of each tensor is the negative prompt and the positive one with guidance, and the
// positive one alone without.
type conditioning struct {
	// states are the text embeddings, [prompts, tokens, width].
	states *ort.Tensor
	// pooled are the embeddings of the whole prompts, [prompts, width], and timeIDs the
	// numbers about the picture's size that go with them; nil where the network takes
	// neither.
	pooled, timeIDs *ort.Tensor
	// guidance is the guidance scale for a network that takes it as an input, [1,
	// width]; nil for others.
	guidance *ort.Tensor
}

// predictor calls the denoising network. Its tensors are allocated once.
type predictor struct {
	unet   ort.Session
	guided bool
	// sample is what the network takes and noise what it predicts, [1 or 2, channels,
	// height, width].
	sample, noise, timestep *ort.Tensor
	inputs, outputs         map[string]*ort.Tensor
}

// newPredictor allocates what predicting the noise of one picture takes.
func newPredictor(unet ort.Session, plan plan, c conditioning) *predictor {
	batch := c.states.Shape[0]
	channels, height, width := int64(plan.latent[0]), int64(plan.latent[1]), int64(plan.latent[2])
	p := &predictor{
		unet:     unet,
		guided:   plan.guided,
		sample:   ort.NewFloat32(batch, channels, height, width),
		noise:    ort.NewFloat32(batch, channels, height, width),
		timestep: ort.NewFloat32(timestepShape(unet.Graph())...),
	}
	p.inputs = map[string]*ort.Tensor{inputSample: p.sample, inputTimestep: p.timestep, inputStates: c.states}
	for name, tensor := range map[string]*ort.Tensor{inputPooled: c.pooled, inputTimeIDs: c.timeIDs, inputGuidance: c.guidance} {
		if tensor != nil {
			p.inputs[name] = tensor
		}
	}
	p.outputs = map[string]*ort.Tensor{outputNoise: p.noise}
	return p
}

// timestepShape is how the network takes the timestep: as a scalar, or as a list of one
// unless the list's length is fixed.
func timestepShape(graph ort.Graph) []int64 {
	v, _ := graph.Input(inputTimestep)
	if v.Shape != nil && len(v.Shape) == 0 {
		return []int64{}
	}
	if len(v.Shape) == 1 && v.Shape[0] > 0 {
		return []int64{v.Shape[0]}
	}
	return []int64{1}
}

// input is where the latents of one picture, scaled, are put before predict.
func (p *predictor) input() []float32 { return p.sample.F32[:p.latents()] }

// predict calls the network on what is in input. It gives what the network predicts for
// the positive prompt and, with guidance, for the negative one, which is nil without.
// Both are good until the next call, and may be written to.
func (p *predictor) predict(ctx context.Context, timestep float32) (positive, negative []float32, err error) {
	n := p.latents()
	if p.guided {
		copy(p.sample.F32[n:], p.sample.F32[:n])
	}
	for i := range p.timestep.F32 {
		p.timestep.F32[i] = timestep
	}
	if err := p.unet.Run(ctx, p.inputs, p.outputs); err != nil {
		return nil, nil, err
	}
	if err := checkOutput(modelstore.UNet, outputNoise, p.noise.F32); err != nil {
		return nil, nil, err
	}
	if p.guided {
		return p.noise.F32[n:], p.noise.F32[:n], nil
	}
	return p.noise.F32, nil, nil
}

// latents is the number of numbers in one picture's latents.
func (p *predictor) latents() int { return len(p.sample.F32) / int(p.sample.Shape[0]) }
