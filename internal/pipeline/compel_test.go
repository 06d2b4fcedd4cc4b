// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/parity"
)

// TestWeightsEqualPython compares text embeddings with those of compel, and the pictures
// that diffusers draws of them: of a model whose text encoder takes a mask, and of two with
// others, where compel takes out what has a weight below 1. They are what
// hack/goldens/compel_prompts.py writes.
func TestWeightsEqualPython(t *testing.T) {
	for name, model := range map[string]string{
		tiny:   filepath.Join(modelsDir, tiny),
		"sdxl": filepath.Join(goldensDir, "layouts", "sdxl", "model"),
		"v2":   filepath.Join(goldensDir, "layouts", "v2", "model"),
	} {
		t.Run(name, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(goldensDir, "compel", name, "*", "case.json"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no goldens (%v); run hack/goldens/compel_prompts.py", err)
			}
			p := newPipeline(t)
			dir, err := filepath.Abs(model)
			if err != nil {
				t.Fatal(err)
			}
			loaded := Model{Name: name, Dir: dir}
			if err := p.Load(t.Context(), loaded); err != nil {
				t.Fatal(err)
			}
			about(t, loaded)
			for _, file := range files {
				t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) { compareWeights(t, p, filepath.Dir(file)) })
			}
		})
	}
}

func compareWeights(t *testing.T, p *Pipeline, dir string) {
	t.Helper()
	c := readCase(t, dir)
	plan, err := p.current().plan(c.request(t))
	if err != nil {
		t.Fatal(err)
	}
	conditioned, err := p.current().encode(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	parity.Numbers(t, parity.Conditioning, "states", conditioned.states.F32, readNumpy(t, filepath.Join(dir, "states.npy")), parity.Relative)
	if conditioned.pooled != nil {
		parity.Numbers(t, parity.Conditioning, "pooled", conditioned.pooled.F32, readNumpy(t, filepath.Join(dir, "pooled.npy")), parity.Relative)
	}
	picture := filepath.Join(dir, "picture.png")
	if _, err := os.Stat(picture); err != nil {
		return
	}
	result, err := p.Generate(t.Context(), c.request(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	parity.Picture(t, "the picture", result.Pictures[0].Image, readPNG(t, picture))
}

// TestPromptsEqualPython compares a sample of the embeddings of each prompt that
// the parsers are compared with.
func TestPromptsEqualPython(t *testing.T) {
	const stride = 37
	data, err := os.ReadFile(filepath.Join(goldensDir, "compel", "states.json"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Text   string
		Tokens int
		Sample []float32
	}
	if err := json.Unmarshal(data, &rows); err != nil || len(rows) < 300 {
		t.Fatalf("%d prompts (%v)", len(rows), err)
	}
	p := loadTest(t, tiny).current()
	worst := 0.0
	for _, row := range rows {
		r := request()
		r.Prompt, r.GuidanceScale = row.Text, 1
		plan, err := p.plan(r)
		if refused := (*RequestError)(nil); errors.As(err, &refused) && strings.Contains(refused.Message, "must be at most 1e+06") {
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", row.Text, err)
			continue
		}
		c, err := p.encode(t.Context(), plan)
		if err != nil || c.states.Shape[1] != int64(row.Tokens) {
			t.Errorf("%q has states of shape %v (%v), and in Python %d tokens", row.Text, c.states.Shape, err, row.Tokens)
			continue
		}
		sample := make([]float32, len(row.Sample))
		for i := range sample {
			sample[i] = c.states.F32[i*stride]
		}
		off := parity.Distance(sample, row.Sample)
		if !(off <= parity.Relative) {
			t.Errorf("%q: off by %.2g of the largest number", row.Text, off)
		}
		worst = max(worst, off)
	}
	parity.About(t, "prompts", "compel's syntax")
	parity.Record(t, "of all prompts", parity.Figure{Measure: parity.Conditioning, Worst: worst, Bound: parity.Relative, Cases: len(rows)})
}

// longText has three times the tokens that the tiny model's encoder takes, and no two
// chunks that are the same.
var longText = func() string {
	var b strings.Builder
	for i := range 21 {
		fmt.Fprintf(&b, "a red apple on table %d. ", i)
	}
	return b.String()
}()

// TestPromptsAreReadByTheirSyntax looks at warnings and errors, and at how many tokens the
// network sees.
func TestPromptsAreReadByTheirSyntax(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*Request)
		warnings []string
		tokens   int
	}{
		{"no syntax", func(*Request) {}, nil, 77},
		{"weights", func(r *Request) { r.Prompt = "a red++ (apple)0.5" }, nil, 77},
		{"weights as text", func(r *Request) { r.Prompt, r.PromptSyntax = "a red++ (apple)0.5", PromptPlain }, nil, 77},
		{"no effect", func(r *Request) { r.Prompt, r.NegativePrompt = "a cat.swap(dog)", "(cat:1.5)" },
			[]string{"negativePrompt: character 1: (text:1.5) gives no weight", "prompt: character 6: swap() has no effect"}, 77},
		{"no effect where it is not seen", func(r *Request) { r.NegativePrompt, r.GuidanceScale = `("a").blend(1, 2)`, 1 }, nil, 77},
		{"long", func(r *Request) { r.Prompt = longText }, nil, 231},
		{"long negative", func(r *Request) { r.NegativePrompt = longText }, nil, 231},
		{"long as text", func(r *Request) { r.Prompt, r.PromptSyntax = longText, PromptPlain }, []string{"prompt: the last "}, 77},
		{"conjunction", func(r *Request) { r.Prompt = `("a cat", "a bird").and()` }, nil, 154},
		{"nothing", func(r *Request) { r.Prompt = "()" }, nil, 77},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, runtime := loadFake(t)
			runtime.run = func(_ context.Context, part string, inputs, _ map[string]*ort.Tensor) error {
				if part == modelstore.UNet && inputs[inputStates].Shape[1] != int64(c.tokens) {
					t.Errorf("the network sees states of shape %v, want %d tokens", inputs[inputStates].Shape, c.tokens)
				}
				return nil
			}
			r := request()
			c.change(&r)
			result, err := p.Generate(t.Context(), r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(result.Warnings, c.warnings, strings.HasPrefix) {
				t.Errorf("warnings %q, want %q", result.Warnings, c.warnings)
			}
		})
	}
}

// TestTextIsTakenOutWhereItCannotBeHidden wants that said.
func TestTextIsTakenOutWhereItCannotBeHidden(t *testing.T) {
	p := New(&fakeRuntime{})
	if err := p.Load(t.Context(), xlModel(t)); err != nil {
		t.Fatal(err)
	}
	for prompt, want := range map[string][]string{
		"(a cat)1.5 on a table": nil, "(a cat)0.5": {"prompt: text_encoder/model.onnx has no input attention_mask"},
		`("a", "b-").blend(1, 2)`: {"prompt: text_encoder/model.onnx has no input attention_mask"},
	} {
		r := request()
		r.Prompt = prompt
		result, err := p.Generate(t.Context(), r, nil)
		if err != nil || !slices.EqualFunc(result.Warnings, want, strings.HasPrefix) {
			t.Errorf("%s gives the warnings %q and the error %v, want %q", prompt, result.Warnings, err, want)
		}
	}
}

// TestPromptsThatCannotWorkNameTheField wants errors before anything is drawn.
func TestPromptsThatCannotWorkNameTheField(t *testing.T) {
	fixedTokens := func(t testing.TB) Model {
		t.Helper()
		model := copyModel(t)
		inputs := unetInputs(16)
		inputs[2].Shape = []int64{-1, 77, 16}
		putGraph(t, model, modelstore.UNet, inputs, []ort.Value{{Name: outputNoise, Type: ort.TypeFloat32, Shape: plane(4)}})
		return model
	}
	for _, c := range []struct {
		model       func(testing.TB) Model
		change      func(*Request)
		field, want string
	}{
		{xlModel, func(r *Request) { r.Prompt = `("a", "b").blend(1)` }, "prompt", "has 2 prompts and 1 weights"},
		{xlModel, func(r *Request) { r.NegativePrompt = strings.Repeat("(", 100) }, "negativePrompt", "nested"},
		{xlModel, func(r *Request) { r.PromptSyntax = "A1111" }, "promptSyntax", "must be Compel or Plain"},
		{fixedTokens, func(r *Request) { r.Prompt = longText }, "prompt", "must be at most 77"},
		{fixedTokens, func(r *Request) { r.NegativePrompt = longText }, "negativePrompt", "must be at most 77"},
	} {
		p := New(&fakeRuntime{})
		if err := p.Load(t.Context(), c.model(t)); err != nil {
			t.Fatal(err)
		}
		r := request()
		c.change(&r)
		_, err := p.Generate(t.Context(), r, nil)
		var bad *RequestError
		if !errors.As(err, &bad) || bad.Field != c.field || !strings.Contains(bad.Message, c.want) {
			t.Errorf("got %v, want a RequestError of %s with %q", err, c.field, c.want)
		}
	}
}

// TestTextWithoutSyntaxIsEncodedOnce wants no more of the encoders than plain text does,
// and the very same numbers.
func TestTextWithoutSyntaxIsEncodedOnce(t *testing.T) {
	for _, model := range []func(testing.TB) Model{copyModel, xlModel} {
		runtime := &fakeRuntime{}
		p := New(runtime)
		if err := p.Load(t.Context(), model(t)); err != nil {
			t.Fatal(err)
		}
		runs := map[string]int{}
		runtime.run = func(_ context.Context, part string, inputs, outputs map[string]*ort.Tensor) error {
			runs[part]++
			for _, out := range outputs {
				for i := range out.F32 {
					out.F32[i] = float32(inputs[inputIDs].I64[i%77]) / 3
				}
			}
			return nil
		}
		var states [][]float32
		for _, syntax := range []PromptSyntax{PromptPlain, PromptCompel} {
			r := request()
			r.Prompt, r.NegativePrompt, r.PromptSyntax = "A red, well-known  apple", "blurry", syntax
			plan, err := p.current().plan(r)
			if err != nil {
				t.Fatal(err)
			}
			c, err := p.current().encode(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			states = append(states, c.states.F32)
		}
		if !slices.Equal(states[0], states[1]) {
			t.Error("the numbers differ")
		}
		for part, n := range runs {
			if n != 4 {
				t.Errorf("%s ran %d times for 2 times 2 prompts", part, n)
			}
		}
	}
}

// TestOneTextAmongManyIsHiddenInItsChunkAlone counts what hiding costs: one more run each,
// however long the prompt is.
func TestOneTextAmongManyIsHiddenInItsChunkAlone(t *testing.T) {
	p, runtime := loadFake(t)
	runs, hidden := 0, 0
	runtime.run = func(_ context.Context, part string, inputs, _ map[string]*ort.Tensor) error {
		if part == modelstore.TextEncoder {
			runs++
			if slices.Contains(inputs[inputMask].I64, 0) {
				hidden++
			}
		}
		return nil
	}
	r := request()
	r.GuidanceScale = 1
	r.Prompt = longText + "a blurry- (cat)0.2"
	if _, err := p.Generate(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	if chunks := runs - hidden - 1; chunks != 3 || hidden != 2 { // One more for the empty prompt.
		t.Errorf("%d chunks and %d hidden texts, want 3 and 2", chunks, hidden)
	}
}
