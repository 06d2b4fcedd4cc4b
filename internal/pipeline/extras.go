// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"math"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// Numbers of time_ids: height and width before cropping, top and left of the crop, and
// then height and width of the picture, or an aesthetic score.
const (
	sizeTimeIDs      = 6
	aestheticTimeIDs = 5
	// What diffusers gives by default.
	aestheticScore         = 6
	negativeAestheticScore = 2.5
)

// extras are the sizes of what the denoising network takes beside latents, timestep and
// text embeddings; 0 where it does not take it.
type extras struct {
	// pooled is the width of the pooled text embeddings, and timeIDs how many numbers
	// about the picture's size go with them.
	pooled, timeIDs int
	// guidance is the width in which the network takes the guidance scale. Such a
	// network was distilled from a guided one, and sees no negative prompt.
	guidance int
}

// readExtras finds the sizes in the network's graph, or in the configurations where the
// graph leaves them open. The error is a *ModelError.
func readExtras(graph ort.Graph, c modelstore.Config) (extras, error) {
	var e extras
	if v, ok := graph.Input(inputGuidance); ok {
		if e.guidance = fixed(v, 1, c.UNet.TimeCondDim); e.guidance < 4 || e.guidance > maxExtra {
			return extras{}, inputError(inputGuidance,
				"has %d numbers; must have from 4 to %d, in its shape or as time_cond_proj_dim in %s", e.guidance, maxExtra, modelstore.ConfigFile(modelstore.UNet))
		}
	}
	pooled, hasPooled := graph.Input(inputPooled)
	ids, hasIDs := graph.Input(inputTimeIDs)
	switch {
	case hasPooled != hasIDs:
		return extras{}, inputError(inputTimeIDs, "and the input %s must both be there, or neither", inputPooled)
	case !hasPooled:
		return e, nil
	case c.TextEncoder2 == nil:
		return extras{}, inputError(inputPooled, "asks for the pooled embeddings of a second text encoder, which %s does not name", modelstore.IndexFile)
	}
	if e.pooled = fixed(pooled, 1, c.TextEncoder2.ProjectionDim); e.pooled < 1 || e.pooled > maxExtra {
		return extras{}, inputError(inputPooled,
			"has %d numbers; must have from 1 to %d, in its shape or as projection_dim in %s", e.pooled, maxExtra, modelstore.ConfigFile(modelstore.TextEncoder2))
	}
	e.timeIDs = sizeTimeIDs
	if c.UNet.AdditionTimeDim > 0 && c.UNet.AdditionInputDim > 0 {
		e.timeIDs = (c.UNet.AdditionInputDim - e.pooled) / c.UNet.AdditionTimeDim
	}
	if e.timeIDs = fixed(ids, 1, e.timeIDs); e.timeIDs != sizeTimeIDs && e.timeIDs != aestheticTimeIDs {
		return extras{}, inputError(inputTimeIDs, "has %d numbers; must have %d, or %d with an aesthetic score", e.timeIDs, sizeTimeIDs, aestheticTimeIDs)
	}
	return e, nil
}

// maxExtra bounds the widths of extras; the largest models have 2816.
const maxExtra = 1 << 14

// inputError blames an input of the denoising network.
func inputError(name, format string, args ...any) error {
	return &ModelError{File: modelstore.GraphFile(modelstore.UNet), Field: "input " + name, Message: fmt.Sprintf(format, args...)}
}

// fixed gives dimension i of a value, or otherwise where it is not fixed.
func fixed(v ort.Value, i, otherwise int) int {
	if len(v.Shape) <= i || v.Shape[i] < 0 {
		return otherwise
	}
	return int(min(v.Shape[i], math.MaxInt32))
}

// sizes gives time_ids for pictures of a size, [prompts, ids]; with guidance the negative
// prompt's come first.
func (e extras) sizes(plan plan) *ort.Tensor {
	scores := []float32{aestheticScore}
	if plan.guided {
		scores = []float32{negativeAestheticScore, aestheticScore}
	}
	height, width := float32(plan.Height), float32(plan.Width)
	ids := ort.NewFloat32(int64(len(scores)), int64(e.timeIDs))
	for i, score := range scores {
		row := ids.F32[i*e.timeIDs : (i+1)*e.timeIDs]
		copy(row, []float32{height, width, 0, 0})
		if e.timeIDs == aestheticTimeIDs {
			row[4] = score
			continue
		}
		row[4], row[5] = height, width
	}
	return ids
}

// guidanceEmbedding gives the guidance scale as a latent consistency model takes it,
// [1, size]: sines and then cosines of 1000·(scale−1) times frequencies that fall
// geometrically from 1 to 1/10000, in float32 as diffusers' get_guidance_scale_embedding
// computes them.
func guidanceEmbedding(scale float64, size int) *ort.Tensor {
	embedding := ort.NewFloat32(1, int64(size))
	half := size / 2
	w := float32(scale-1) * 1000
	slope := float32(math.Log(10000)) / float32(half-1)
	for i := range half {
		frequency := float32(math.Exp(float64(float32(i) * -slope)))
		sine, cosine := math.Sincos(float64(w * frequency))
		embedding.F32[i], embedding.F32[half+i] = float32(sine), float32(cosine)
	}
	return embedding
}
