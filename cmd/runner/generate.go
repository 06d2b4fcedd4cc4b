// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// generateOptions are what generate is told by flags.
type generateOptions struct {
	model   string
	output  string
	json    bool
	request pipeline.Request
	runtime ort.Options
	device  string
}

// generateResult is what --json prints.
type generateResult struct {
	Model       string          `json:"model"`
	Device      ort.DeviceType  `json:"device"`
	DeviceWhy   string          `json:"deviceMessage"`
	LoadSeconds float64         `json:"loadSeconds"`
	DrawSeconds float64         `json:"drawSeconds"`
	Pictures    []pictureResult `json:"pictures"`
	Warnings    []string        `json:"warnings,omitempty"`
}

// pictureResult is one picture in a generateResult.
type pictureResult struct {
	File      string `json:"file"`
	Seed      int64  `json:"seed"`
	SHA256    string `json:"sha256"`
	SizeBytes int64  `json:"sizeBytes"`
	Width     int    `json:"width"`
	Height    int    `json:"height"`
}

func newGenerateCommand() *cobra.Command {
	var o generateOptions
	command := &cobra.Command{
		Use:   "generate --model DIR --prompt TEXT",
		Short: "Draw pictures here, without a cluster",
		Long: `Load the model in a directory (diffusers ONNX layout), draw pictures from a prompt
and write them as PNG files, with the parameters in their metadata. The same
parameters and seed give the same file.`,
		Example: `  runner generate --model models/fluent-emoji --prompt "a red apple" --seed 1 -o apple.png`,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if !command.Flags().Changed("seed") {
				o.request.Seed = rand.Int64N(1 << 32)
			}
			o.runtime.Device = ort.DeviceType(strings.ToUpper(o.device))
			return generate(command.Context(), o, command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	flags := command.Flags()
	flags.StringVar(&o.model, "model", "", "directory of the model")
	flags.StringVar(&o.request.Prompt, "prompt", "", "what the picture shows")
	flags.StringVar(&o.request.NegativePrompt, "negative-prompt", "", "what the picture should not show")
	flags.IntVar(&o.request.Steps, "steps", int(v1alpha1.DefaultSteps), "number of denoising steps")
	flags.Float64Var(&o.request.GuidanceScale, "guidance-scale", v1alpha1.DefaultGuidanceScale, "how strongly the picture follows the prompt; 1 or less turns guidance off")
	flags.Int64Var(&o.request.Seed, "seed", 0, "seed of the first picture; picture k uses seed+k (default: drawn at random)")
	flags.IntVar(&o.request.Width, "width", 0, "width in pixels (default: what the model was trained for)")
	flags.IntVar(&o.request.Height, "height", 0, "height in pixels (default: what the model was trained for)")
	flags.StringVar(&o.request.Scheduler, "scheduler", "", "diffusers class of the scheduler: "+strings.Join(diffusion.Classes(), ", ")+" (default: the model's own)")
	flags.IntVar(&o.request.Images, "images", int(v1alpha1.DefaultImages), "number of pictures")
	flags.StringVarP(&o.output, "output", "o", "out.png", "file to write; with several pictures, picture k goes to NAME-k.png")
	flags.BoolVar(&o.json, "json", false, "print the result as JSON")
	flags.IntVar(&o.runtime.Threads, "threads", 0, "threads to compute with on the CPU (default: as many as there are CPUs to use)")
	flags.StringVar(&o.device, "device", "", "cuda or cpu (default: cuda where it works, else cpu)")
	for _, required := range []string{"model", "prompt"} {
		if err := command.MarkFlagRequired(required); err != nil {
			panic(err) // Only for a flag that is not defined above.
		}
	}
	return command
}

// generate loads, draws, saves and says what it did.
func generate(ctx context.Context, o generateOptions, out, progress io.Writer) (err error) {
	if !strings.EqualFold(filepath.Ext(o.output), ".png") {
		return fmt.Errorf("--output %s: must end in .png, the one format that is written", o.output)
	}
	if d := o.runtime.Device; d != "" && d != ort.CUDA && d != ort.CPU {
		return fmt.Errorf("--device %s: must be cuda or cpu", o.device)
	}
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
	result := generateResult{Model: filepath.Base(dir)}

	bar.show("loading " + result.Model)
	start := time.Now()
	if err := p.Load(ctx, pipeline.Model{Name: result.Model, Dir: dir}); err != nil {
		return err
	}
	result.LoadSeconds = time.Since(start).Seconds()
	device, _ := p.Device()
	result.Device, result.DeviceWhy = device.Type, device.Message

	start = time.Now()
	drawn, err := p.Generate(ctx, o.request, bar.step)
	if err != nil {
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
	folder, name := filepath.Split(output)
	if folder == "" {
		folder = "."
	}
	for _, picture := range pictures {
		encoded, err := artifact.Encode(artifact.PNG, picture.Image, picture.Parameters)
		if err != nil {
			return nil, err
		}
		file := name
		if len(pictures) > 1 {
			extension := filepath.Ext(name)
			file = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, extension), picture.Index, extension)
		}
		saved, err := artifact.Save(folder, file, encoded)
		if err != nil {
			return nil, err
		}
		size := picture.Image.Bounds().Size()
		results = append(results, pictureResult{
			File: filepath.Join(folder, saved.Path), Seed: picture.Seed, SHA256: saved.SHA256, SizeBytes: saved.SizeBytes,
			Width: size.X, Height: size.Y,
		})
	}
	return results, nil
}

// printResult says what was done, for people or for programs.
func printResult(out io.Writer, asJSON bool, result generateResult) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(result)
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
