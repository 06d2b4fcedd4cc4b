// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

const tiny = "../../test/testdata/models/tiny"

// run calls the command as a terminal would.
func run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, progress bytes.Buffer
	command := newCommand()
	command.SetArgs(args)
	command.SetOut(&out)
	command.SetErr(&progress)
	err = command.ExecuteContext(t.Context())
	return out.String(), progress.String(), err
}

func TestGenerateWritesTheSameFileTwice(t *testing.T) {
	dir := t.TempDir()
	files := make([][]byte, 0, 2)
	for _, name := range []string{"one.png", "two.png"} {
		stdout, stderr, err := run(t, "generate", "--model", tiny, "--prompt", "a red apple", "--negative-prompt", "blurry",
			"--seed", "7", "--steps", "3", "--guidance-scale", "4", "--scheduler", "EulerDiscreteScheduler", "--device", "cpu", "-o", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(stdout, name) || !strings.Contains(stdout, "seed 7") || !strings.Contains(stdout, "on CPU") {
			t.Errorf("it printed %q", stdout)
		}
		if stderr != "" {
			t.Errorf("without a terminal it shows progress: %q", stderr)
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, data)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the second file differs")
	}
	want := "a red apple\nNegative prompt: blurry\nSteps: 3, Sampler: Euler, CFG scale: 4, Seed: 7, Size: 16x16, Model: tiny, RNG: CPU, Version: Atelier dev"
	if !bytes.Contains(files[0], []byte(want)) {
		t.Error("the parameters are not in the file")
	}
}

func TestGenerateSeveralAsJSON(t *testing.T) {
	output := filepath.Join(t.TempDir(), "cat.PNG")
	stdout, _, err := run(t, "generate", "--model", tiny, "--prompt", "a cat", "--steps", "2", "--images", "2", "--width", "32", "--json", "-o", output)
	if err != nil {
		t.Fatal(err)
	}
	var result generateResult
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatal(err)
	}
	if result.Model != "tiny" || len(result.Pictures) != 2 || result.Device == "" || result.DeviceWhy == "" {
		t.Fatalf("got %+v", result)
	}
	if result.Pictures[1].Seed != result.Pictures[0].Seed+1 {
		t.Errorf("the seeds are %d and %d", result.Pictures[0].Seed, result.Pictures[1].Seed)
	}
	for k, picture := range result.Pictures {
		info, err := os.Stat(picture.File)
		if err != nil || info.Size() != picture.SizeBytes || picture.Width != 32 || picture.Height != 16 {
			t.Errorf("picture %d is %+v (%v)", k, picture, err)
		}
		if want := []string{"cat-0.PNG", "cat-1.PNG"}[k]; filepath.Base(picture.File) != want {
			t.Errorf("picture %d is in %s", k, picture.File)
		}
	}
}

// generateJSON draws with the tiny model and gives the result.
func generateJSON(t *testing.T, args ...string) generateResult {
	t.Helper()
	stdout, _, err := run(t, append([]string{"generate", "--model", tiny, "--prompt", "a cat", "--steps", "4", "--seed", "7", "--device", "cpu", "--json"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var result generateResult
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatal(err)
	}
	return result
}

// TestGenerateFromAPicture begins with a picture of each format, and ends in each.
func TestGenerateFromAPicture(t *testing.T) {
	dir := t.TempDir()
	begin := filepath.Join(dir, "begin.png")
	generateJSON(t, "--width", "32", "-o", begin)
	link := filepath.Join(dir, "link")
	for _, c := range []struct {
		output string
		format artifact.Format
	}{{"a.webp", artifact.WebP}, {"a.JPEG", artifact.JPEG}, {"a.png", artifact.PNG}} {
		if err := os.Symlink(begin, link); err != nil {
			t.Fatal(err)
		}
		output := filepath.Join(dir, c.output)
		result := generateJSON(t, "--image", link, "--strength", "0.5", "-o", output)
		picture := result.Pictures[0]
		if result.Calls != 2 || picture.Format != c.format || picture.File != output || picture.Width != 32 || picture.Height != 16 {
			t.Errorf("%s: got %+v", c.output, result)
		}
		if !strings.Contains(picture.Parameters, "Size: 32x16, Model: tiny, Denoising strength: 0.5, RNG: CPU") {
			t.Errorf("%s: the parameters are %q", c.output, picture.Parameters)
		}
		read, err := artifact.Load(dir, c.output)
		if err != nil || read.Bounds().Dx() != 32 {
			t.Errorf("%s: %v", c.output, err)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
		begin = output
	}
}

// TestGenerateTakesEveryParameter wants each to change the picture, or a warning that it
// does not.
func TestGenerateTakesEveryParameter(t *testing.T) {
	output := filepath.Join(t.TempDir(), "a.png")
	plain := generateJSON(t, "-o", output).Pictures[0].SHA256
	for _, args := range [][]string{
		{"--prompt", "a (cat)1.5", "--prompt-syntax", "plain"}, {"--guidance-rescale", "0.7"}, {"--generator-device", "cuda"},
		{"--scheduler", "UniPCMultistepScheduler"}, {"--negative-prompt", "blurry"}, {"--height", "32"},
	} {
		if result := generateJSON(t, append(args, "-o", output)...); result.Pictures[0].SHA256 == plain {
			t.Errorf("%q changes nothing", args)
		}
	}
	result := generateJSON(t, "--eta", "0.5", "--strength", "0.5", "-o", output)
	if len(result.Warnings) != 2 || !strings.Contains(strings.Join(result.Warnings, "; "), "eta: 0.5: has no effect") || result.Pictures[0].SHA256 != plain {
		t.Errorf("got %+v", result)
	}
}

// TestGeneratePreview looks at the preview of the last step.
func TestGeneratePreview(t *testing.T) {
	dir := t.TempDir()
	generateJSON(t, "--preview", filepath.Join(dir, "preview.png"), "-o", filepath.Join(dir, "a.png"))
	preview, err := artifact.Load(dir, "preview.png")
	if err != nil || preview.Bounds().Dx() != 8 || preview.Bounds().Dy() != 8 {
		t.Errorf("got %v", err)
	}
}

func TestGenerateSaysWhatIsWrong(t *testing.T) {
	good := []string{"generate", "--model", tiny, "--prompt", "a cat", "-o", filepath.Join(t.TempDir(), "a.png")}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"generate", "--prompt", "a cat"}, `"model" not set`},
		{[]string{"generate", "--model", tiny}, `"prompt" not set`},
		{append(slices.Clip(good), "-o", "a.gif"), "--output a.gif: must end in one of .png, .jpg, .jpeg, .webp"},
		{append(slices.Clip(good), "--device", "tpu"), "--device tpu: must be cuda or cpu"},
		{append(slices.Clip(good), "--generator-device", "tpu"), "--generator-device tpu: must be cpu or cuda"},
		{append(slices.Clip(good), "--prompt-syntax", "a1111"), "--prompt-syntax a1111: must be compel or plain"},
		{append(slices.Clip(good), "--image", "missing.png"), "--image: lstat missing.png: no such file"},
		{append(slices.Clip(good), "--image", "main.go"), "--image: main.go: must be a PNG, JPEG or WebP picture"},
		{append(slices.Clip(good), "--strength", "0"), "--strength 0: must be above 0"},
		{append(slices.Clip(good), "--strength", "2"), "strength: 2: must be a number from 0 to 1"},
		{append(slices.Clip(good), "--eta", "2"), "eta: 2: must be a number from 0 to 1"},
		{append(slices.Clip(good), "--guidance-rescale", "-1"), "guidanceRescale: -1: must be a number from 0 to 1"},
		{append(slices.Clip(good), "--clip-skip", "9"), "clipSkip: 9: "},
		{append(slices.Clip(good), "--preview", filepath.Join("no", "such", "preview.png")), "--preview: outputs directory"},
		{append(slices.Clip(good), "--width", "17"), "width: 17: must be a multiple of 4"},
		{append(slices.Clip(good), "--scheduler", "X"), "scheduler: X: must be one of "},
		{append(slices.Clip(good), "--steps", "0"), "steps: 0: must be from 1 to 1000"},
		{append(slices.Clip(good), "--model", "missing"), "missing does not exist"},
		{append(slices.Clip(good), "-o", filepath.Join("no", "such", "folder", "a.png")), "outputs directory"},
		{append(slices.Clip(good), "surplus"), "surplus"},
	} {
		_, _, err := run(t, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want it to say %q", c.args, err, c.want)
		}
	}
	var bad *pipeline.RequestError
	if _, _, err := run(t, append(good, "--images", "0")...); !errors.As(err, &bad) || bad.Field != "images" {
		t.Errorf("no pictures: %v", err)
	}
}

func TestInspect(t *testing.T) {
	stdout, _, err := run(t, "inspect", tiny)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Stable Diffusion; pictures from text, or from a picture and text\n", "StableDiffusionPipeline", "16x16, or other multiples of 4", "544 tokens, prompts of 77", "EulerDiscreteScheduler\n",
		"encoder_hidden_states float32 [?, ?, 16]", "timestep float32 []", "sample float32 [?, 3, ?, ?]",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
}

func TestInspectAsJSON(t *testing.T) {
	stdout, _, err := run(t, "inspect", tiny, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var result inspectResult
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatal(err)
	}
	if result.Family != "Stable Diffusion" || !result.ImageToImage || result.Width != 16 || result.Scheduler != "EulerDiscreteScheduler" || !result.SchedulerSupported ||
		len(result.Graphs) != 4 || len(result.Defects) != 0 {
		t.Errorf("got %+v", result)
	}
	want := valueResult{Name: "timestep", Type: "float32", Shape: []int64{}}
	if !slices.ContainsFunc(result.Graphs, func(g graphResult) bool {
		return g.File == "unet/model.onnx" && slices.ContainsFunc(g.Inputs, func(v valueResult) bool {
			return v.Name == want.Name && v.Type == want.Type && v.Shape != nil && len(v.Shape) == 0
		})
	}) {
		t.Errorf("%+v is not among the inputs of %+v", want, result.Graphs)
	}

	stdout, _, err = run(t, "inspect", t.TempDir(), "--json")
	if err == nil || json.Unmarshal([]byte(stdout), &result) != nil || len(result.Defects) == 0 {
		t.Errorf("of an empty folder: %v, %s", err, stdout)
	}
}

// TestInspectSaysWhatItCannotDo has no encoder for pictures to begin with, which is no defect.
func TestInspectSaysWhatItCannotDo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "vae_encoder")); err != nil {
		t.Fatal(err)
	}
	stdout, _, err := run(t, "inspect", dir)
	if err != nil || !strings.Contains(stdout, "pictures from text alone, as vae_encoder/model.onnx is missing") {
		t.Errorf("%v\n%s", err, stdout)
	}
}

func TestInspectNamesEveryDefect(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"unet/model.onnx", "tokenizer/merges.txt"} {
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	stdout, _, err := run(t, "inspect", dir)
	if err == nil || !strings.Contains(err.Error(), "2 defects") {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{"model file unet/model.onnx: is missing", "model file tokenizer/merges.txt: is missing", "vae_decoder/model.onnx"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
}
