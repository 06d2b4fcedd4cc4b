// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"os"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// Report says what a model directory holds and what is wrong with it.
type Report struct {
	// Class of the pipeline in model_index.json.
	Class string
	// Width and Height of the pictures the model was trained for, in pixels; 0 where
	// the configurations do not say.
	Width, Height int
	// SizeMultiple is what width and height must be multiples of.
	SizeMultiple int
	// LatentChannels and EmbeddingWidth are the sizes on which the parts must agree.
	LatentChannels, EmbeddingWidth int
	// Tokens in the vocabulary, and the length of a prompt in tokens.
	Tokens, PromptLength int
	// Scheduler is the class in scheduler_config.json.
	Scheduler          string
	SchedulerSupported bool
	Graphs             []GraphReport
	// Problems is empty for a model that can be loaded.
	Problems []error
}

// GraphReport describes one ONNX file.
type GraphReport struct {
	// File relative to the model directory.
	File      string
	SizeBytes int64
	ort.Graph
}

// Inspect reads a model directory without loading the model. It goes on after a defect,
// so that the report names all of them.
func Inspect(dir string) Report {
	var r Report
	d, err := modelstore.Open(dir)
	if err != nil {
		return Report{Problems: []error{err}}
	}
	defer func() { _ = d.Close() }() // Only read from.
	config, err := d.ReadConfig()
	r.note(err)
	if err == nil {
		r.describe(config)
	}
	tokenizer, tokenizerErr := readTokenizer(d)
	r.note(tokenizerErr)
	if tokenizerErr == nil {
		r.Tokens, r.PromptLength = tokenizer.Size(), tokenizer.MaxLength()
		if err == nil {
			r.note(checkConfig(config, tokenizer))
		}
	}
	scheduler, schedulerErr := readScheduler(d)
	r.note(schedulerErr)
	if schedulerErr == nil {
		r.Scheduler, r.SchedulerSupported = scheduler.Class(), diffusion.Supported(scheduler.Class())
	}
	for _, part := range []string{modelstore.TextEncoder, modelstore.UNet, modelstore.VAEDecoder} {
		graph, graphErr := readGraph(d, part)
		r.note(graphErr)
		if graphErr != nil {
			continue
		}
		r.Graphs = append(r.Graphs, graph)
		if err == nil && tokenizerErr == nil {
			r.note(checkGraph(part, graph.Graph, config, tokenizer.MaxLength()))
		}
	}
	return r
}

// note keeps a problem.
func (r *Report) note(err error) {
	if err != nil {
		r.Problems = append(r.Problems, err)
	}
}

// describe takes over what the configurations say.
func (r *Report) describe(c modelstore.Config) {
	r.Class = c.Class
	r.SizeMultiple = c.VAE.Scale()
	r.Width = c.UNet.SampleSize * r.SizeMultiple
	r.Height = r.Width
	r.LatentChannels = c.UNet.InChannels
	r.EmbeddingWidth = c.UNet.CrossAttentionDim
}

// readGraph describes the ONNX file of a part.
func readGraph(d *modelstore.Directory, part string) (GraphReport, error) {
	report := GraphReport{File: modelstore.GraphFile(part)}
	file, err := d.File(report.File)
	if err != nil {
		return report, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return report, err
	}
	report.SizeBytes = info.Size()
	report.Graph, err = openGraph(d, part, file)
	return report, err
}
