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
	want := "a red apple\nNegative prompt: blurry\nSteps: 3, Sampler: Euler, CFG scale: 4, Seed: 7, Size: 16x16, Model: tiny"
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

func TestGenerateSaysWhatIsWrong(t *testing.T) {
	good := []string{"generate", "--model", tiny, "--prompt", "a cat", "-o", filepath.Join(t.TempDir(), "a.png")}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"generate", "--prompt", "a cat"}, `"model" not set`},
		{[]string{"generate", "--model", tiny}, `"prompt" not set`},
		{append(slices.Clip(good), "-o", "a.jpg"), "--output a.jpg: must end in .png"},
		{append(slices.Clip(good), "--device", "tpu"), "--device tpu: must be cuda or cpu"},
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
