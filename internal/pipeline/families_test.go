// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// encodeGraph makes an ONNX file that says what a graph takes and gives, and holds
// nothing else: enough for all but running it.
func encodeGraph(inputs, outputs []ort.Value) []byte {
	bytes := func(b []byte, field protowire.Number, data []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), data)
	}
	number := func(b []byte, field protowire.Number, v int64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
	}
	var graph []byte
	for field, values := range map[protowire.Number][]ort.Value{11: inputs, 12: outputs} {
		for _, v := range values {
			var shape []byte
			for _, d := range v.Shape {
				if d < 0 {
					shape = bytes(shape, 1, bytes(nil, 2, []byte("n")))
					continue
				}
				shape = bytes(shape, 1, number(nil, 1, d))
			}
			kind := bytes(nil, 1, bytes(number(nil, 1, int64(v.Type)), 2, shape))
			graph = bytes(graph, field, bytes(bytes(nil, 1, []byte(v.Name)), 2, kind))
		}
	}
	return bytes(nil, 7, graph)
}

// tokens and pixels are shapes of values with a batch that is not fixed.
func tokens(width int64) []int64   { return []int64{-1, -1, width} }
func plane(channels int64) []int64 { return []int64{-1, channels, -1, -1} }

// unetInputs are those that every denoising network of the tests has.
func unetInputs(width int64, more ...ort.Value) []ort.Value {
	return append([]ort.Value{
		{Name: inputSample, Type: ort.TypeFloat32, Shape: plane(4)},
		{Name: inputTimestep, Type: ort.TypeFloat32, Shape: []int64{}},
		{Name: inputStates, Type: ort.TypeFloat32, Shape: tokens(width)},
	}, more...)
}

// textOutputs are those of an encoder with three layers.
func textOutputs(pooled string, width, pooledWidth int64) []ort.Value {
	outputs := []ort.Value{{Name: pooled, Type: ort.TypeFloat32, Shape: []int64{-1, pooledWidth}}, {Name: outputStates, Type: ort.TypeFloat32, Shape: tokens(width)}}
	for _, n := range []string{"0", "1", "2", "3"} {
		outputs = append(outputs, ort.Value{Name: outputHidden + n, Type: ort.TypeFloat32, Shape: tokens(width)})
	}
	return outputs
}

// putGraph puts a graph that takes and gives what is said in the place of a part's.
func putGraph(t testing.TB, model Model, part string, inputs, outputs []ort.Value) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(model.Dir, part), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(model.Dir, modelstore.GraphFile(part)), encodeGraph(inputs, outputs))
}

// inFile changes a field of one of a model's files.
func inFile(t testing.TB, model Model, file, field string, value any) {
	t.Helper()
	setField(field, value)(t, filepath.Join(model.Dir, file))
}

// copyFolder copies one folder of a model to another.
func copyFolder(t testing.TB, model Model, from, to string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(model.Dir, to), os.DirFS(filepath.Join(model.Dir, from))); err != nil {
		t.Fatal(err)
	}
}

// xlModel makes a model with two text encoders, of widths 16 and 24, out of the tiny one.
func xlModel(t testing.TB) Model {
	t.Helper()
	model := copyModel(t)
	copyFolder(t, model, "tokenizer", "tokenizer_2")
	copyFolder(t, model, "text_encoder", "text_encoder_2")
	inFile(t, model, "model_index.json", "_class_name", "StableDiffusionXLPipeline")
	inFile(t, model, "model_index.json", "text_encoder_2", []any{"transformers", "CLIPTextModelWithProjection"})
	inFile(t, model, "model_index.json", "tokenizer_2", []any{"transformers", "CLIPTokenizer"})
	inFile(t, model, "text_encoder_2/config.json", "hidden_size", 24)
	inFile(t, model, "text_encoder_2/config.json", "projection_dim", 20)
	inFile(t, model, "unet/config.json", "cross_attention_dim", 40)
	inFile(t, model, "unet/config.json", "addition_time_embed_dim", 8)
	inFile(t, model, "unet/config.json", "projection_class_embeddings_input_dim", 20+6*8)
	ids := []ort.Value{{Name: inputIDs, Type: ort.TypeInt64, Shape: []int64{-1, -1}}}
	putGraph(t, model, modelstore.TextEncoder, ids, textOutputs("pooler_output", 16, 16))
	putGraph(t, model, modelstore.TextEncoder2, ids, textOutputs(outputPooled, 24, -1))
	putXLNetwork(t, model, 40, []int64{-1, 20}, []int64{-1, -1})
	return model
}

// putXLNetwork puts a denoising network with the inputs of Stable Diffusion XL.
func putXLNetwork(t testing.TB, model Model, width int64, pooled, ids []int64) {
	t.Helper()
	putGraph(t, model, modelstore.UNet, unetInputs(width,
		ort.Value{Name: inputPooled, Type: ort.TypeFloat32, Shape: pooled},
		ort.Value{Name: inputTimeIDs, Type: ort.TypeFloat32, Shape: ids},
	), []ort.Value{{Name: outputNoise, Type: ort.TypeFloat32, Shape: plane(4)}})
}

// consistencyModel makes a model that takes the guidance scale as an input.
func consistencyModel(t testing.TB) Model {
	t.Helper()
	model := copyModel(t)
	inFile(t, model, "unet/config.json", "time_cond_proj_dim", 8)
	putGraph(t, model, modelstore.UNet, unetInputs(16, ort.Value{Name: inputGuidance, Type: ort.TypeFloat32, Shape: []int64{-1, -1}}),
		[]ort.Value{{Name: outputNoise, Type: ort.TypeFloat32, Shape: plane(4)}})
	return model
}

// bareModel makes a model as diffusers' own exporter wrote it: no configurations beside
// the graphs, ids of 32 bits, a list of timesteps, channels that are not fixed.
func bareModel(t testing.TB) Model {
	t.Helper()
	model := copyModel(t)
	for _, part := range []string{"text_encoder", "unet", "vae_decoder", "vae_encoder"} {
		remove(t, filepath.Join(model.Dir, part, "config.json"))
	}
	remove(t, filepath.Join(model.Dir, "vae_encoder", "model.onnx"))
	inFile(t, model, "model_index.json", "_class_name", "OnnxStableDiffusionPipeline")
	inFile(t, model, "model_index.json", "safety_checker", []any{"diffusers", "OnnxRuntimeModel"})
	open := []int64{-1, -1, -1, -1}
	putGraph(t, model, modelstore.TextEncoder, []ort.Value{{Name: inputIDs, Type: ort.TypeInt32, Shape: []int64{-1, -1}}},
		[]ort.Value{{Name: outputStates, Type: ort.TypeFloat32, Shape: []int64{-1, -1, -1}}, {Name: "pooler_output", Type: ort.TypeFloat32, Shape: []int64{-1, -1}}})
	putGraph(t, model, modelstore.UNet, []ort.Value{
		{Name: inputSample, Type: ort.TypeFloat32, Shape: open},
		{Name: inputTimestep, Type: ort.TypeFloat32, Shape: []int64{-1}},
		{Name: inputStates, Type: ort.TypeFloat32, Shape: tokens(768)},
	}, []ort.Value{{Name: outputNoise, Type: ort.TypeFloat32, Shape: open}})
	putGraph(t, model, modelstore.VAEDecoder, []ort.Value{{Name: inputLatents, Type: ort.TypeFloat32, Shape: open}},
		[]ort.Value{{Name: outputPicture, Type: ort.TypeFloat32, Shape: open}})
	return model
}

// TestFamiliesAreFoundByTheirParts loads a model of each layout.
func TestFamiliesAreFoundByTheirParts(t *testing.T) {
	for _, c := range []struct {
		name         string
		model        func(testing.TB) Model
		family       string
		side         int
		imageToImage bool
		extras       extras
	}{
		{"one encoder", func(t testing.TB) Model { t.Helper(); return copyModel(t) }, "Stable Diffusion", 16, true, extras{}},
		{"two encoders", xlModel, "Stable Diffusion XL", 16, true, extras{pooled: 20, timeIDs: 6}},
		{"guidance as an input", consistencyModel, "Stable Diffusion, a latent consistency model", 16, true, extras{guidance: 8}},
		{"no configurations", bareModel, "Stable Diffusion", 512, false, extras{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			model := c.model(t)
			report := Inspect(model.Dir)
			if len(report.Problems) > 0 || report.Family != c.family || report.Width != c.side || report.ImageToImage != c.imageToImage {
				t.Errorf("inspected: %q, %d, %v, %v", report.Family, report.Width, report.ImageToImage, report.Problems)
			}
			p := New(&fakeRuntime{})
			if err := p.Load(t.Context(), model); err != nil {
				t.Fatal(err)
			}
			loaded := p.current()
			if loaded.extras != c.extras || (loaded.vaeEncoder != nil) != c.imageToImage || !p.IsHealthy() {
				t.Errorf("loaded %+v, health %+v", loaded.extras, p.Health())
			}
			if _, err := p.Generate(t.Context(), request(), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDefectsOfFamiliesAreNamed damages models of the other families.
func TestDefectsOfFamiliesAreNamed(t *testing.T) {
	for _, c := range []struct {
		name                 string
		model                func(testing.TB) Model
		damage               func(*testing.T, Model)
		file, field, message string
	}{
		{"refiner", xlModel, func(t *testing.T, m Model) {
			t.Helper()
			inFile(t, m, "model_index.json", "text_encoder", []any{nil, nil})
		}, "model_index.json", "text_encoder", "refiner"},
		{"zeros as a word", xlModel, func(t *testing.T, m Model) {
			t.Helper()
			inFile(t, m, "model_index.json", "force_zeros_for_empty_prompt", "yes")
		}, "model_index.json", "force_zeros_for_empty_prompt", "true or false"},
		{"no second encoder", xlModel, func(t *testing.T, m Model) { t.Helper(); remove(t, filepath.Join(m.Dir, "text_encoder_2/model.onnx")) }, "text_encoder_2/model.onnx", "", "is missing"},
		{"no second configuration", xlModel, func(t *testing.T, m Model) { t.Helper(); remove(t, filepath.Join(m.Dir, "text_encoder_2/config.json")) }, "text_encoder_2/config.json", "", "is missing"},
		{"no second tokenizer", xlModel, func(t *testing.T, m Model) { t.Helper(); remove(t, filepath.Join(m.Dir, "tokenizer_2/vocab.json")) }, "tokenizer_2/vocab.json", "", "is missing"},
		{"second vocabulary too small", xlModel, func(t *testing.T, m Model) { t.Helper(); inFile(t, m, "text_encoder_2/config.json", "vocab_size", 5) }, "text_encoder_2/config.json", "vocab_size", "tokenizer_2"},
		{"tokenizers differ", xlModel, func(t *testing.T, m Model) {
			t.Helper()
			inFile(t, m, "tokenizer_2/tokenizer_config.json", "model_max_length", 60)
		}, "tokenizer_2/tokenizer_config.json", "model_max_length", "be 77"},
		{"widths do not add up", xlModel, func(t *testing.T, m Model) { t.Helper(); inFile(t, m, "unet/config.json", "cross_attention_dim", 41) }, "unet/config.json", "cross_attention_dim", "must be 40"},
		{"no pooled output", xlModel, func(t *testing.T, m Model) {
			t.Helper()
			putGraph(t, m, modelstore.TextEncoder2, []ort.Value{{Name: inputIDs, Type: ort.TypeInt64, Shape: []int64{-1, -1}}}, textOutputs("pooler_output", 24, 24))
		}, "text_encoder_2/model.onnx", "output text_embeds", "is missing"},
		{"no hidden states", xlModel, func(t *testing.T, m Model) {
			t.Helper()
			putGraph(t, m, modelstore.TextEncoder, []ort.Value{{Name: inputIDs, Type: ort.TypeInt64, Shape: []int64{-1, -1}}}, textOutputs("pooler_output", 16, 16)[:2])
		}, "text_encoder/model.onnx", "output hidden_states.2", "is missing"},
		{"seven numbers of a size", xlModel, func(t *testing.T, m Model) { t.Helper(); putXLNetwork(t, m, 40, []int64{-1, 20}, []int64{-1, 7}) }, "unet/model.onnx", "input time_ids", "has 7 numbers"},
		{"pooled of rank 3", xlModel, func(t *testing.T, m Model) {
			t.Helper()
			putXLNetwork(t, m, 40, []int64{-1, 1, 20}, []int64{-1, 6})
		}, "unet/model.onnx", "input text_embeds", "2 dimensions"},
		{"pooled, but one encoder", consistencyModel, func(t *testing.T, m Model) { t.Helper(); putXLNetwork(t, m, 16, []int64{-1, 20}, []int64{-1, 6}) }, "unet/model.onnx", "input text_embeds", "model_index.json does not name"},
		{"guidance of no width", consistencyModel, func(t *testing.T, m Model) {
			t.Helper()
			inFile(t, m, "unet/config.json", "time_cond_proj_dim", nil)
		}, "unet/model.onnx", "input timestep_cond", "time_cond_proj_dim"},
		{"one configuration of several", bareModel, func(t *testing.T, m Model) {
			t.Helper()
			put(t, filepath.Join(m.Dir, "unet/config.json"), []byte(`{"sample_size":8,"in_channels":4,"cross_attention_dim":768}`))
		}, "text_encoder/config.json", "", "is missing"},
		{"encoder of pictures is none", xlModel, func(t *testing.T, m Model) {
			t.Helper()
			putGraph(t, m, modelstore.VAEEncoder, []ort.Value{{Name: inputPicture, Type: ort.TypeFloat32, Shape: plane(3)}}, []ort.Value{{Name: "x", Type: ort.TypeFloat32, Shape: plane(8)}})
		}, "vae_encoder/model.onnx", "output latent_parameters", "is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			model := c.model(t)
			c.damage(t, model)
			err := New(&fakeRuntime{}).Load(t.Context(), model)
			var defect *ModelError
			if !errors.As(err, &defect) || defect.File != c.file || defect.Field != c.field || !strings.Contains(defect.Message, c.message) {
				t.Errorf("got %v, want %s, %q: …%s…", err, c.file, c.field, c.message)
			}
			if report := Inspect(model.Dir); len(report.Problems) == 0 {
				t.Error("Inspect finds nothing")
			}
		})
	}
}

// TestTwoEncodersAreJoined looks at what the network of Stable Diffusion XL sees.
func TestTwoEncodersAreJoined(t *testing.T) {
	runtime := &fakeRuntime{}
	p := New(runtime)
	if err := p.Load(t.Context(), xlModel(t)); err != nil {
		t.Fatal(err)
	}
	runtime.run = func(_ context.Context, part string, _, outputs map[string]*ort.Tensor) error {
		// The number of the layer, and 10 more in the second encoder.
		first := map[string]float32{modelstore.TextEncoder: 0, modelstore.TextEncoder2: 10}[part]
		for name, out := range outputs {
			v := first + 100
			if i := slices.Index([]string{outputHidden + "0", outputHidden + "1", outputHidden + "2"}, name); i >= 0 {
				v = first + float32(i)
			}
			for i := range out.F32 {
				out.F32[i] = v
			}
		}
		return nil
	}
	for _, c := range []struct {
		name     string
		change   func(*Request)
		negative bool
		want     [3]float32 // Of the first encoder, of the second, pooled; of the last prompt.
	}{
		{"no negative prompt is zeros", func(*Request) {}, false, [3]float32{2, 12, 110}},
		{"a negative prompt is encoded", func(r *Request) { r.NegativePrompt = "blurry" }, true, [3]float32{2, 12, 110}},
		{"layers are left out of the positive prompt", func(r *Request) { r.NegativePrompt, r.ClipSkip = "blurry", 2 }, true, [3]float32{0, 10, 110}},
	} {
		r := request()
		c.change(&r)
		plan, err := p.current().plan(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.current().encode(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		negative, positive := [3]float32{}, c.want
		if c.negative {
			negative = [3]float32{2, 12, 110}
		}
		for i, want := range [][3]float32{negative, positive} {
			row := got.states.F32[i*77*40:]
			if seen := [3]float32{row[39*40+15], row[39*40+16], got.pooled.F32[i*20+19]}; seen != want {
				t.Errorf("%s: prompt %d is %v, want %v", c.name, i, seen, want)
			}
		}
		if want := []float32{16, 16, 0, 0, 16, 16, 16, 16, 0, 0, 16, 16}; !slices.Equal(got.timeIDs.F32, want) {
			t.Errorf("%s: sizes %v", c.name, got.timeIDs.F32)
		}
	}
}

// TestAestheticScoresTakeTheSizesPlace covers networks with five time_ids.
func TestAestheticScoresTakeTheSizesPlace(t *testing.T) {
	e := extras{pooled: 20, timeIDs: 5}
	ids := e.sizes(plan{Request: Request{Width: 24, Height: 16}, guided: true})
	if want := []float32{16, 24, 0, 0, 2.5, 16, 24, 0, 0, 6}; !slices.Equal(ids.F32, want) {
		t.Errorf("got %v, want %v", ids.F32, want)
	}
}

// TestConsistencyModelsSeeTheScaleAndNoNegativePrompt runs the network once a step.
func TestConsistencyModelsSeeTheScaleAndNoNegativePrompt(t *testing.T) {
	runtime := &fakeRuntime{}
	p := New(runtime)
	if err := p.Load(t.Context(), consistencyModel(t)); err != nil {
		t.Fatal(err)
	}
	calls := 0
	runtime.run = func(_ context.Context, part string, inputs, _ map[string]*ort.Tensor) error {
		if part == modelstore.UNet {
			calls++
			if inputs[inputSample].Shape[0] != 1 || len(inputs[inputGuidance].F32) != 8 || inputs[inputGuidance].F32[4] == 1 {
				t.Errorf("sample of shape %v, guidance %v", inputs[inputSample].Shape, inputs[inputGuidance].F32)
			}
		}
		return nil
	}
	if _, err := p.Generate(t.Context(), request(), nil); err != nil || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestClipSkipsThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name  string
		model func(testing.TB) Model
		skip  int
		want  string
	}{
		{"negative", func(t testing.TB) Model { t.Helper(); return copyModel(t) }, -1, "from 0 to 3"},
		{"more than there are", func(t testing.TB) Model { t.Helper(); return copyModel(t) }, 4, "from 0 to 3"},
		{"more than there are of two", xlModel, 3, "from 0 to 2"},
		{"only the last layer's result", bareModel, 1, "output_hidden_states"},
		{"normalization without a name", func(t testing.TB) Model {
			t.Helper()
			m := copyModel(t)
			putGraph(t, m, modelstore.TextEncoder, []ort.Value{{Name: inputIDs, Type: ort.TypeInt64, Shape: []int64{-1, -1}}}, textOutputs("pooler_output", 16, 16))
			return m
		}, 1, "final_layer_norm.weight"},
	} {
		p := New(&fakeRuntime{})
		if err := p.Load(t.Context(), c.model(t)); err != nil {
			t.Fatal(err)
		}
		r := request()
		r.ClipSkip = c.skip
		_, err := p.Generate(t.Context(), r, nil)
		var bad *RequestError
		if !errors.As(err, &bad) || bad.Field != "clipSkip" || !strings.Contains(bad.Message, c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// TestPictureEncoderIsLoadedWhenItIsRun also closes one that never ran.
func TestPictureEncoderIsLoadedWhenItIsRun(t *testing.T) {
	p, runtime := loadFake(t)
	if slices.Contains(runtime.log, "open vae_encoder") {
		t.Errorf("loading did %v", runtime.log)
	}
	encoder := p.current().vaeEncoder
	for range 2 {
		if err := encoder.Run(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(runtime.log); runtime.log[n-1] != "open vae_encoder" || runtime.log[n-2] == "open vae_encoder" || encoder.Err() != nil {
		t.Errorf("two runs did %v (%v)", runtime.log, encoder.Err())
	}
	if err := p.Unload(); err != nil || runtime.left() != 0 {
		t.Errorf("%v; %d sessions are left", err, runtime.left())
	}
	if err := encoder.Run(t.Context(), nil, nil); !errors.Is(err, errDeferredClosed) || !errors.Is(encoder.Err(), errDeferredClosed) {
		t.Errorf("a run after closing gives %v", err)
	}
}

// TestGuidanceEmbedding compares with numbers of diffusers' get_guidance_scale_embedding.
func TestGuidanceEmbedding(t *testing.T) {
	for scale, want := range map[float64][]float32{
		8.5: {-0.8512358665466309, 0.5626711249351501, -0.4352330267429352, 0.6816387176513672, -0.5247832536697388, -0.8266808390617371, -0.9003178477287292, 0.731688916683197},
		1:   {0, 0, 0, 0, 1, 1, 1, 1},
		7.3: {-0.8942396640777588, -0.24932986497879028, 0.8450016975402832, 0.5891447067260742, -0.4475884735584259, -0.9684185981750488, 0.5347636342048645, 0.8080275654792786},
	} {
		near(t, "embedding", guidanceEmbedding(scale, 8).F32, want)
	}
	if odd := guidanceEmbedding(8.5, 9).F32; len(odd) != 9 || odd[8] != 0 {
		t.Errorf("an odd width ends with %v, want a zero", odd)
	}
}

// TestLayerNorm normalizes two rows whose mean and variance are easy to tell.
func TestLayerNorm(t *testing.T) {
	norm := layerNorm{weight: []float32{1, 2}, bias: []float32{0, 5}}
	rows := []float32{3, 7, -1, -3}
	norm.apply(rows)
	if want := []float32{-1, 7, 1, 3}; !slices.Equal(rows, want) {
		t.Errorf("got %v, want %v", rows, want)
	}
}
