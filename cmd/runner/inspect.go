// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

func newInspectCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:   "inspect DIR",
		Short: "Say what a model directory holds and what is wrong with it",
		Long: `Read a model directory (diffusers ONNX layout) without loading the model, and print its
family, class, sizes, scheduler and the inputs and outputs of its networks. Every defect is
named with its file and field; with any, the exit code is 1.`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			report := pipeline.Inspect(args[0])
			show := printReport
			if asJSON {
				show = printReportJSON
			}
			if err := show(command.OutOrStdout(), report); err != nil {
				return err
			}
			if n := len(report.Problems); n > 0 {
				return fmt.Errorf("%s: %d defects", args[0], n)
			}
			return nil
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return command
}

// printReport writes what is known, then what is wrong.
func printReport(out io.Writer, r pipeline.Report) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, name+"\t"+format+"\n", args...) // Flush gives the first error.
	}
	if r.Family != "" {
		from := "text alone, as " + modelstore.GraphFile(modelstore.VAEEncoder) + " is missing"
		if r.ImageToImage {
			from = "text, or from a picture and text"
		}
		line("family", "%s; pictures from %s", r.Family, from)
	}
	if r.Class != "" {
		line("class", "%s", r.Class)
		line("pictures", "%dx%d, or other multiples of %d", r.Width, r.Height, r.SizeMultiple)
		line("latents", "%d channels, each for %dx%d pixels", r.LatentChannels, r.PixelsPerLatent, r.PixelsPerLatent)
		line("embeddings", "width %d", r.EmbeddingWidth)
	}
	if r.Tokens > 0 {
		line("tokenizer", "%d tokens, prompts of %d", r.Tokens, r.PromptLength)
	}
	if r.Scheduler != "" {
		note := ""
		if !r.SchedulerSupported {
			note = " (not supported; requests must name one of " + strings.Join(diffusion.Classes(), ", ") + ")"
		}
		line("scheduler", "%s%s", r.Scheduler, note)
	}
	for _, g := range r.Graphs {
		line(g.File, "%.1f MB", float64(g.SizeBytes)/1e6)
		for _, v := range g.Inputs {
			line("  in", "%s", describe(v))
		}
		for _, v := range g.Outputs {
			line("  out", "%s", describe(v))
		}
		for _, file := range g.External {
			line("  weights", "%s", file.Name)
		}
	}
	for _, problem := range r.Problems {
		line("defect", "%v", problem)
	}
	return w.Flush()
}

// describe writes an input or output as name, type and shape, with ? for what is not fixed.
func describe(v ort.Value) string {
	if v.Shape == nil {
		return fmt.Sprintf("%s %s of any shape", v.Name, v.Type)
	}
	dimensions := make([]string, 0, len(v.Shape))
	for _, d := range v.Shape {
		if d < 0 {
			dimensions = append(dimensions, "?")
			continue
		}
		dimensions = append(dimensions, fmt.Sprint(d))
	}
	return fmt.Sprintf("%s %s [%s]", v.Name, v.Type, strings.Join(dimensions, ", "))
}
