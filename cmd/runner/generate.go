// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// generateResult is what --json prints.
type generateResult struct {
	Model       string                    `json:"model"`
	Device      ort.DeviceType            `json:"device"`
	DeviceWhy   string                    `json:"deviceMessage"`
	Generator   diffusion.GeneratorDevice `json:"generatorDevice"`
	LoadSeconds float64                   `json:"loadSeconds"`
	DrawSeconds float64                   `json:"drawSeconds"`
	// Calls of the denoising network, over all pictures.
	Calls    int             `json:"calls"`
	Pictures []pictureResult `json:"pictures"`
	Warnings []string        `json:"warnings,omitempty"`
}

// pictureResult is one picture in a generateResult.
type pictureResult struct {
	File      string          `json:"file"`
	Format    artifact.Format `json:"format"`
	Seed      int64           `json:"seed"`
	SHA256    string          `json:"sha256"`
	SizeBytes int64           `json:"sizeBytes"`
	Width     int             `json:"width"`
	Height    int             `json:"height"`
	// Parameters are what the file holds in its metadata.
	Parameters string `json:"parameters"`
}

func newGenerateCommand() *cobra.Command {
	var o generateOptions
	command := &cobra.Command{
		Use:   "generate --model DIR --prompt TEXT",
		Short: "Draw pictures here, without a cluster",
		Long: `Load the model in a directory (diffusers ONNX layout), draw pictures from a prompt, or
from a picture and a prompt, and write them as PNG, JPEG or WebP files, with the
parameters in their metadata. The same parameters and seed give the same file.`,
		Example: `  runner generate --model models/fluent-emoji --prompt "a red apple" --seed 1 -o apple.png
  runner generate --model models/fluent-emoji --prompt "a green apple" --image apple.png --strength 0.6 -o green.webp`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.complete(command.Flags()); err != nil {
				return err
			}
			return generate(command.Context(), o, command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	o.addFlags(command.Flags())
	for _, required := range []string{"model", "prompt"} {
		if err := command.MarkFlagRequired(required); err != nil {
			panic(err) // Only for a flag that is not defined above.
		}
	}
	return command
}

// generate loads, draws, saves and says what it did.
func generate(ctx context.Context, o generateOptions, out, progress io.Writer) (err error) {
	dir, err := filepath.Abs(o.model)
	if err != nil {
		return err
	}
	p := pipeline.New(ort.New(o.runtime))
	defer func() {
		if closeErr := p.Unload(); err == nil {
			err = closeErr
		}
	}()
	bar := newBar(progress)
	defer bar.end()
	result := generateResult{Model: filepath.Base(dir), Generator: o.request.Generator}

	bar.show("loading " + result.Model)
	start := time.Now()
	if err := p.Load(ctx, pipeline.Model{Name: result.Model, Dir: dir}); err != nil {
		return err
	}
	result.LoadSeconds = time.Since(start).Seconds()
	device, _ := p.Device()
	result.Device, result.DeviceWhy = device.Type, device.Message

	var preview previewFile
	if o.preview != "" {
		preview.path = o.preview
		o.request.Preview = preview.show
	}
	start = time.Now()
	drawn, err := p.Generate(ctx, o.request, func(done, total int) {
		result.Calls = total
		bar.step(done, total)
	})
	if err = errors.Join(err, preview.err); err != nil {
		return err
	}
	result.DrawSeconds, result.Warnings = time.Since(start).Seconds(), drawn.Warnings
	if result.Pictures, err = savePictures(drawn.Pictures, o.output); err != nil {
		return err
	}
	bar.end()
	return printResult(out, o.json, result)
}

// savePictures writes each picture to its file.
func savePictures(pictures []pipeline.Picture, output string) ([]pictureResult, error) {
	var results []pictureResult
	folder, name := filepath.Dir(output), filepath.Base(output)
	extension := filepath.Ext(name)
	format, _ := artifact.FormatOf(extension)
	for _, picture := range pictures {
		encoded, err := artifact.Encode(format, picture.Image, picture.Parameters)
		if err != nil {
			return nil, err
		}
		file := name
		if len(pictures) > 1 {
			file = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, extension), picture.Index, extension)
		}
		saved, err := artifact.SaveAgain(folder, file, encoded)
		if err != nil {
			return nil, err
		}
		size := picture.Image.Bounds().Size()
		results = append(results, pictureResult{
			File: filepath.Join(folder, saved.Path), Format: format, Seed: picture.Seed, SHA256: saved.SHA256, SizeBytes: saved.SizeBytes,
			Width: size.X, Height: size.Y, Parameters: picture.Parameters.String(),
		})
	}
	return results, nil
}

// printResult says what was done, for people or for programs.
func printResult(out io.Writer, asJSON bool, result generateResult) error {
	if asJSON {
		return printJSON(out, result)
	}
	for _, picture := range result.Pictures {
		if _, err := fmt.Fprintf(out, "%s  %dx%d  seed %d\n", picture.File, picture.Width, picture.Height, picture.Seed); err != nil {
			return err
		}
	}
	for _, warning := range result.Warnings {
		if _, err := fmt.Fprintln(out, "warning:", warning); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "loaded in %.2f s and drawn in %.2f s on %s (%s)\n", result.LoadSeconds, result.DrawSeconds, result.Device, result.DeviceWhy)
	return err
}
