// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/prompt"
)

// FuzzModelDirectory puts any bytes in the place of one file of a model that has every
// kind of file. Inspect and Load must agree whether that can be used, and blame a file
// where it can't; what can be loaded must draw, or refuse to, without a panic.
func FuzzModelDirectory(f *testing.F) {
	model := everyKindOfFile(f)
	whole := modelFiles(f, model)
	for i, name := range whole.names {
		f.Add(i, whole.data[name])
	}
	runtime := &fakeRuntime{}
	f.Fuzz(func(t *testing.T, number int, data []byte) {
		if number < 0 || number >= len(whole.names) {
			return
		}
		name := whole.names[number]
		file := filepath.Join(model.Dir, name)
		put(t, file, data)
		defer put(t, file, whole.data[name])
		p := New(runtime)
		err := p.Load(t.Context(), model)
		defer func() { _ = p.Unload() }()
		problems := Inspect(model.Dir).Problems
		if (err == nil) != (len(problems) == 0) {
			t.Errorf("%s: Load gives %v, but Inspect %v", name, err, problems)
		}
		for _, problem := range append(problems, err) {
			var defect *ModelError
			if problem != nil && (!errors.As(problem, &defect) || defect.File == "" || defect.Message == "") {
				t.Errorf("%s: got %v, want a ModelError", name, problem)
			}
		}
		if err == nil {
			drawSmall(t, p)
		}
	})
}

// drawSmall draws a picture of whatever was loaded, unless it would be a large one.
func drawSmall(t *testing.T, p *Pipeline) {
	t.Helper()
	loaded := p.current()
	r := Request{Prompt: "a red apple", NegativePrompt: "blurry", Steps: 2, GuidanceScale: 7.5, Images: 1}
	plan, err := loaded.plan(r)
	if err != nil || plan.Width*plan.Height > 1<<16 || plan.latents() > 1<<16 || loaded.config.UNet.CrossAttentionDim > 1<<10 {
		return
	}
	_, _ = p.Generate(t.Context(), r, nil) // What it gives is not the matter: it must give something.
}

// everyKindOfFile makes a model with two text encoders, with an encoder of pictures, and
// with a tokenizer in several files and one in one. Its graphs have no weights.
func everyKindOfFile(t testing.TB) Model {
	t.Helper()
	model := xlModel(t)
	putGraph(t, model, modelstore.VAEDecoder,
		[]ort.Value{{Name: inputLatents, Type: ort.TypeFloat32, Shape: plane(4)}}, []ort.Value{{Name: outputPicture, Type: ort.TypeFloat32, Shape: plane(3)}})
	putGraph(t, model, modelstore.VAEEncoder,
		[]ort.Value{{Name: inputPicture, Type: ort.TypeFloat32, Shape: plane(3)}}, []ort.Value{{Name: outputParameters, Type: ort.TypeFloat32, Shape: plane(8)}})
	folder := filepath.Join(model.Dir, modelstore.Tokenizer2)
	vocabulary, err := os.ReadFile(filepath.Join(folder, prompt.VocabularyFile))
	if err != nil {
		t.Fatal(err)
	}
	merges, err := os.ReadFile(filepath.Join(folder, prompt.MergesFile))
	if err != nil {
		t.Fatal(err)
	}
	_, lines, _ := strings.Cut(strings.TrimSpace(string(merges)), "\n") // After the version.
	data, err := json.Marshal(map[string]any{"model": map[string]any{"type": "BPE", "vocab": json.RawMessage(vocabulary), "merges": strings.Split(lines, "\n")}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(folder, wholeFile), data)
	for _, name := range []string{prompt.VocabularyFile, prompt.MergesFile} {
		remove(t, filepath.Join(folder, name))
	}
	return model
}
