// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"image"
	"math/rand/v2"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

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
	image   string
	preview string
	json    bool
	request pipeline.Request
	runtime ort.Options
	// The flags with a choice of words, as they were given.
	device, generator, syntax string
}

// addFlags defines the flags. A job has a field of the same name for most, see
// docs/parameters.md.
func (o *generateOptions) addFlags(flags *pflag.FlagSet) {
	r := &o.request
	flags.StringVar(&o.model, "model", "", "directory of the model")
	flags.StringVar(&r.Prompt, "prompt", "", "what the picture shows")
	flags.StringVar(&r.NegativePrompt, "negative-prompt", "", "what the picture should not show")
	flags.StringVar(&o.syntax, "prompt-syntax", string(pipeline.PromptCompel), "how the prompts are read: compel, with weights such as (word)1.3, or plain")
	flags.IntVar(&r.ClipSkip, "clip-skip", 0, "layers to leave out at the end of the text encoder")
	flags.StringVar(&o.image, "image", "", "picture to begin with, a PNG, JPEG or WebP file (default: none)")
	flags.Float64Var(&r.Strength, "strength", 0, fmt.Sprintf("how much of --image is given up, above 0 and up to 1 (default: %v)", pipeline.DefaultStrength))
	flags.IntVar(&r.Steps, "steps", int(v1alpha1.DefaultSteps), "number of denoising steps")
	flags.Float64Var(&r.GuidanceScale, "guidance-scale", v1alpha1.DefaultGuidanceScale, "how strongly the picture follows the prompt; 1 or less turns guidance off")
	flags.Float64Var(&r.GuidanceRescale, "guidance-rescale", 0, "how far the contrast that guidance adds is taken back, from 0 to 1")
	flags.Int64Var(&r.Seed, "seed", 0, "seed of the first picture; picture k uses seed+k (default: drawn at random)")
	flags.StringVar(&o.generator, "generator-device", string(diffusion.GeneratorCPU), "whose random numbers the seed draws, as torch's: cpu or cuda")
	flags.IntVar(&r.Width, "width", 0, "width in pixels (default: that of --image, else what the model was trained for)")
	flags.IntVar(&r.Height, "height", 0, "height in pixels (default: that of --image, else what the model was trained for)")
	flags.StringVar(&r.Scheduler, "scheduler", "", "diffusers class of the scheduler: "+strings.Join(diffusion.Classes(), ", ")+" (default: the model's own)")
	flags.Float64Var(&r.Eta, "eta", 0, "share of noise that DDIMScheduler adds in each step, from 0 to 1")
	flags.IntVar(&r.Images, "images", int(v1alpha1.DefaultImages), "number of pictures")
	flags.StringVarP(&o.output, "output", "o", "out.png",
		"file to write, in the format of its extension: "+strings.Join(artifact.Extensions(), ", ")+"; with several pictures, picture k goes to NAME-k.png")
	flags.StringVar(&o.preview, "preview", "", "PNG file to show each step in, one pixel for each latent (default: none)")
	flags.BoolVar(&o.json, "json", false, "print the result as JSON")
	flags.IntVar(&o.runtime.Threads, "threads", 0, "threads to compute with on the CPU (default: as many as there are CPUs to use)")
	flags.StringVar(&o.device, "device", "", "cuda or cpu (default: cuda where it works, else cpu)")
}

// complete checks what the flags say and reads the picture to begin with.
func (o *generateOptions) complete(flags *pflag.FlagSet) (err error) {
	if !flags.Changed("seed") {
		o.request.Seed = rand.Int64N(1 << 32)
	}
	if flags.Changed("strength") && !(o.request.Strength > 0) {
		return fmt.Errorf("--strength %v: must be above 0 and up to 1", o.request.Strength)
	}
	if _, ok := artifact.FormatOf(filepath.Ext(o.output)); !ok {
		return fmt.Errorf("--output %s: must end in one of %s", o.output, strings.Join(artifact.Extensions(), ", "))
	}
	if o.request.PromptSyntax, err = choose("prompt-syntax", o.syntax, pipeline.PromptCompel, pipeline.PromptPlain); err != nil {
		return err
	}
	if o.request.Generator, err = choose("generator-device", o.generator, diffusion.GeneratorCPU, diffusion.GeneratorCUDA); err != nil {
		return err
	}
	if o.runtime.Device, err = choose("device", o.device, ort.CUDA, ort.CPU, ""); err != nil {
		return err
	}
	if o.image != "" {
		o.request.Image, err = readImage(o.image)
	}
	return err
}

// choose finds the one of the values that a flag says, in upper or lower case. An empty one
// is a flag that was left out.
func choose[T ~string](flag, said string, values ...T) (T, error) {
	var words []string
	for _, value := range values {
		if strings.EqualFold(said, string(value)) {
			return value, nil
		}
		if value != "" {
			words = append(words, strings.ToLower(string(value)))
		}
	}
	return "", fmt.Errorf("--%s %s: must be %s", flag, said, strings.Join(words, " or "))
}

// readImage reads the picture to begin with, through whatever links lead to it.
func readImage(path string) (image.Image, error) {
	file, err := filepath.EvalSymlinks(path)
	if err == nil {
		var picture image.Image
		if picture, err = artifact.Load(filepath.Dir(file), filepath.Base(file)); err == nil {
			return picture, nil
		}
	}
	return nil, fmt.Errorf("--image: %w", err)
}
