// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"io/fs"
	"os"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// Report says what a model directory holds and what is wrong with it.
type Report struct {
	// Class of the pipeline in model_index.json.
	Class string
	// Family that the parts and their inputs make the model one of, such as Stable
	// Diffusion XL; "" where too much is missing to tell.
	Family string
	// ImageToImage says that the model can begin with a picture: it has an encoder.
	ImageToImage bool
	// Width and Height of the pictures the model was trained for, in pixels; 0 where
	// the configurations do not say.
	Width, Height int
	// SizeMultiple is what width and height must be multiples of.
	SizeMultiple int
	// PixelsPerLatent is how many pixels a latent covers in each direction.
	PixelsPerLatent int
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
	p := parts{config: config}
	tokenizersErr := r.readTokenizers(d, &p, err == nil)
	scheduler, schedulerErr := readScheduler(d)
	r.note(schedulerErr)
	if schedulerErr == nil {
		r.Scheduler, r.SchedulerSupported = scheduler.Class(), diffusion.Supported(scheduler.Class())
	}
	graphs, whole := r.readGraphs(d, config)
	if err == nil && tokenizersErr == nil {
		r.settle(&p, graphs, whole)
	}
	return r
}

// readTokenizers describes the first tokenizer, and notes what is wrong with any.
func (r *Report) readTokenizers(d *modelstore.Directory, p *parts, configured bool) (err error) {
	if p.tokenizer, err = readTokenizer(d, modelstore.Tokenizer); err == nil {
		r.Tokens, r.PromptLength = p.tokenizer.Size(), p.tokenizer.MaxLength()
	}
	r.note(err)
	if configured && p.config.TextEncoder2 != nil {
		var second error
		p.tokenizer2, second = readTokenizer(d, modelstore.Tokenizer2)
		r.note(second)
		err = errors.Join(err, second)
	}
	return err
}

// readGraphs describes the graphs, and says whether all that the model must have can be
// read.
func (r *Report) readGraphs(d *modelstore.Directory, c modelstore.Config) (graphs map[string]graphFile, whole bool) {
	graphs, whole = map[string]graphFile{}, true
	for _, part := range partNames(c) {
		graph, err := readGraph(d, part)
		if part == modelstore.VAEEncoder && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		r.note(err)
		if err != nil {
			whole = false
			continue
		}
		r.Graphs = append(r.Graphs, graph)
		graphs[part] = graphFile{Graph: graph.Graph}
	}
	return graphs, whole
}

// settle notes what does not fit together, and describes what does.
func (r *Report) settle(p *parts, graphs map[string]graphFile, whole bool) {
	if whole || !p.config.Bare {
		var err error
		p.config, err = complete(p.config, graphs)
		r.note(err)
	}
	r.note(checkConfig(p.config, p.tokenizer, p.tokenizer2))
	for _, part := range partNames(p.config) {
		if graph, ok := graphs[part]; ok {
			r.note(checkGraph(part, graph.Graph, p.config, p.tokenizer.MaxLength()))
		}
	}
	var err error
	if unet, ok := graphs[modelstore.UNet]; ok {
		p.extras, err = readExtras(unet.Graph, p.config)
		r.note(err)
	}
	r.describe(p.config)
	r.Family = family(p.config, p.extras)
	_, r.ImageToImage = graphs[modelstore.VAEEncoder]
}

// family describes what kind of model it is by its parts and inputs. What a model was
// called, or what it was trained from, does not matter.
func family(c modelstore.Config, e extras) string {
	name := "Stable Diffusion"
	if c.TextEncoder2 != nil {
		name = "Stable Diffusion XL"
	}
	if e.guidance > 0 {
		name += ", a latent consistency model"
	}
	return name
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
	r.SizeMultiple, r.PixelsPerLatent = c.SizeMultiple(), c.VAE.Scale()
	r.Width = c.UNet.SampleSize * r.PixelsPerLatent
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
