// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"

	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// inspectResult is what inspect --json prints: a pipeline.Report for programs.
type inspectResult struct {
	Family             string        `json:"family,omitempty"`
	Class              string        `json:"class,omitempty"`
	ImageToImage       bool          `json:"imageToImage"`
	Width              int           `json:"width,omitempty"`
	Height             int           `json:"height,omitempty"`
	SizeMultiple       int           `json:"sizeMultiple,omitempty"`
	PixelsPerLatent    int           `json:"pixelsPerLatent,omitempty"`
	LatentChannels     int           `json:"latentChannels,omitempty"`
	EmbeddingWidth     int           `json:"embeddingWidth,omitempty"`
	Tokens             int           `json:"tokens,omitempty"`
	PromptLength       int           `json:"promptLength,omitempty"`
	Scheduler          string        `json:"scheduler,omitempty"`
	SchedulerSupported bool          `json:"schedulerSupported"`
	Graphs             []graphResult `json:"graphs"`
	// Defects is empty for a model that can be loaded.
	Defects []string `json:"defects"`
}

// graphResult is one ONNX file in an inspectResult.
type graphResult struct {
	File      string        `json:"file"`
	SizeBytes int64         `json:"sizeBytes"`
	Inputs    []valueResult `json:"inputs"`
	Outputs   []valueResult `json:"outputs"`
	// Weights are the files outside the graph's that hold them.
	Weights []string `json:"weights,omitempty"`
}

// valueResult is an input or output of a graph.
type valueResult struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Shape has -1 for what is not fixed, and is absent where any shape will do.
	Shape []int64 `json:"shape,omitzero"`
}

// printReportJSON writes the report for programs.
func printReportJSON(out io.Writer, r pipeline.Report) error {
	result := inspectResult{
		Family: r.Family, Class: r.Class, ImageToImage: r.ImageToImage,
		Width: r.Width, Height: r.Height, SizeMultiple: r.SizeMultiple, PixelsPerLatent: r.PixelsPerLatent,
		LatentChannels: r.LatentChannels, EmbeddingWidth: r.EmbeddingWidth, Tokens: r.Tokens, PromptLength: r.PromptLength,
		Scheduler: r.Scheduler, SchedulerSupported: r.SchedulerSupported, Graphs: []graphResult{}, Defects: []string{},
	}
	for _, g := range r.Graphs {
		graph := graphResult{File: g.File, SizeBytes: g.SizeBytes, Inputs: valueResults(g.Inputs), Outputs: valueResults(g.Outputs)}
		for _, file := range g.External {
			graph.Weights = append(graph.Weights, file.Name)
		}
		result.Graphs = append(result.Graphs, graph)
	}
	for _, problem := range r.Problems {
		result.Defects = append(result.Defects, problem.Error())
	}
	return printJSON(out, result)
}

func valueResults(values []ort.Value) []valueResult {
	results := make([]valueResult, 0, len(values))
	for _, v := range values {
		results = append(results, valueResult{Name: v.Name, Type: v.Type.String(), Shape: v.Shape})
	}
	return results
}

// printJSON writes a value for programs, and for people who look at what programs get.
func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
