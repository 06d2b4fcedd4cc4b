// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// copyModel copies the tiny model to a folder that the test may damage.
func copyModel(t testing.TB) Model {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(testModel(t, tiny).Dir)); err != nil {
		t.Fatal(err)
	}
	return Model{Name: "copy", Dir: dir}
}

// setField changes a field of a JSON file; a nil value takes it out.
func setField(field string, value any) func(t testing.TB, file string) {
	return func(t testing.TB, file string) {
		t.Helper()
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := json.Unmarshal(data, &object); err != nil {
			t.Fatal(err)
		}
		object[field] = value
		if value == nil {
			delete(object, field)
		}
		data, err = json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		put(t, file, data)
	}
}

func put(t testing.TB, file string, data []byte) {
	t.Helper()
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// content replaces a file.
func content(data string) func(t testing.TB, file string) {
	return func(t testing.TB, file string) { put(t, file, []byte(data)) }
}

// remove takes a file away.
func remove(t testing.TB, file string) {
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// truncate keeps half of a file.
func truncate(t testing.TB, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	put(t, file, data[:len(data)/2])
}

// flip damages bytes in the middle of a file.
func flip(t testing.TB, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Clone(data)
	for i := range 64 {
		data[400+i] ^= 0xff
	}
	put(t, file, data)
}

// replaceWith puts another file of the model in the place of one.
func replaceWith(other string) func(t testing.TB, file string) {
	return func(t testing.TB, file string) {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(file)), other))
		if err != nil {
			t.Fatal(err)
		}
		put(t, file, data)
	}
}

// leadOut puts a symbolic link in the place of a file.
func leadOut(t testing.TB, file string) {
	remove(t, file)
	if err := os.Symlink("/etc/passwd", file); err != nil {
		t.Fatal(err)
	}
}

// TestDefectsAreNamed damages the model in every way that is known, and wants the file
// and the field in the error.
func TestDefectsAreNamed(t *testing.T) {
	const (
		index     = "model_index.json"
		scheduler = "scheduler/scheduler_config.json"
		text      = "text_encoder/config.json"
		unet      = "unet/config.json"
		vae       = "vae_decoder/config.json"
		vocab     = "tokenizer/vocab.json"
		merges    = "tokenizer/merges.txt"
		tokens    = "tokenizer/tokenizer_config.json"
	)
	for _, c := range []struct {
		name   string
		file   string
		damage func(t testing.TB, file string)
		// wantFile is file unless it is given.
		wantFile, field, message string
	}{
		{"no index", index, remove, "", "", "is missing"},
		{"index is no JSON", index, content("{"), "", "", "JSON"},
		{"index is a list", index, content("[]"), "", "", "JSON"},
		{"index is empty", index, content(""), "", "", "empty"},
		{"index too large", index, content("{" + strings.Repeat(" ", 2<<20) + "}"), "", "", "larger than"},
		{"index leads out", index, leadOut, "", "", "can't be opened"},
		{"no class", index, setField("_class_name", nil), "", "_class_name", "must name"},
		{"class is a number", index, setField("_class_name", 5), "", "_class_name", "must name"},
		{"no network", index, setField("unet", nil), "", "unet", "missing"},
		{"null network", index, setField("unet", []any{nil, nil}), "", "unet", "null"},
		{"second encoder alone", index, setField("text_encoder_2", []any{"transformers", "CLIPTextModelWithProjection"}), "", "tokenizer_2", "text_encoder_2 is there"},
		{"second tokenizer alone", index, setField("tokenizer_2", []any{"transformers", "CLIPTokenizer"}), "", "text_encoder_2", "tokenizer_2 is there"},
		{"flow matching", index, setField("transformer", []any{"diffusers", "SD3Transformer2DModel"}), "", "transformer", "not supported"},
		{"inpainting class", index, setField("_class_name", "StableDiffusionInpaintPipeline"), "", "_class_name", "is StableDiffusionInpaintPipeline"},
		{"absurd guidance width", unet, setField("time_cond_proj_dim", 1<<30), "", "time_cond_proj_dim", "from 0 to"},
		{"no scheduler", scheduler, remove, "", "", "is missing"},
		{"scheduler without class", scheduler, setField("_class_name", nil), "", "_class_name", "must name"},
		{"absurd training steps", scheduler, setField("num_train_timesteps", 1e9), "", "num_train_timesteps", "must be from 2"},
		{"fractional training steps", scheduler, setField("num_train_timesteps", 0.5), "", "num_train_timesteps", "whole number"},
		{"beta of 1", scheduler, setField("beta_end", 1), "", "beta_end", "between 0 and 1"},
		{"beta is text", scheduler, setField("beta_start", "x"), "", "beta_start", `must be a number`},
		{"unknown spacing", scheduler, setField("timestep_spacing", "random"), "", "timestep_spacing", "linspace, leading, trailing"},
		{"beta sigmas", scheduler, setField("use_beta_sigmas", true), "", "use_beta_sigmas", "not supported"},
		{"unknown option", scheduler, setField("use_magic", true), "", "use_magic", "not an option"},
		{"no text configuration", text, remove, "", "", "is missing"},
		{"no width", text, setField("hidden_size", nil), "", "hidden_size", "is 0; must be from 1"},
		{"absurd width", text, setField("hidden_size", 1<<40), "", "hidden_size", "must be from 1"},
		{"width is text", text, setField("hidden_size", "16"), "", "hidden_size", "is a JSON string; must be a whole number"},
		{"vocabulary too small", text, setField("vocab_size", 10), "", "vocab_size", "at least 544"},
		{"too few positions", text, setField("max_position_embeddings", 5), "", "max_position_embeddings", "at least 77"},
		{"no network configuration", unet, remove, "", "", "is missing"},
		{"widths differ", unet, setField("cross_attention_dim", 17), "", "cross_attention_dim", "must be 16"},
		{"inpainting", unet, setField("in_channels", 9), "", "in_channels", "must be 4"},
		{"absurd sample size", unet, setField("sample_size", -8), "", "sample_size", "is -8"},
		{"no decoder configuration", vae, remove, "", "", "is missing"},
		{"no scaling", vae, setField("scaling_factor", 0), "", "scaling_factor", "positive"},
		{"scaling is a list", vae, setField("scaling_factor", []int{1}), "", "scaling_factor", "is a JSON array; must be a number"},
		{"means of too few latents", vae, setField("latents_mean", []float64{1, 2}), "", "latents_mean", "have 4 numbers"},
		{"deviations of nothing", vae, setField("latents_std", []float64{1, 2, 0, 3}), "", "latents_std", "from 1e-06"},
		{"absurd tiles", vae, setField("sample_size", -1), "", "sample_size", "is -1"},
		{"absurd network", unet, setField("block_out_channels", make([]int, 99)), "", "block_out_channels", "length of 99"},
		{"latents differ", vae, setField("latent_channels", 5), unet, "in_channels", "must be 5"},
		{"no blocks", vae, setField("block_out_channels", []int{}), "", "block_out_channels", "length of 0"},
		{"no vocabulary", vocab, remove, "", "", "is missing"},
		{"vocabulary is a list", vocab, content("[]"), "", "", "JSON object"},
		{"vocabulary is empty", vocab, content("{}"), "", "", "0 tokens"},
		{"negative id", vocab, setField("a", -1), "", "a", "id -1"},
		{"no merges", merges, remove, "", "", "is missing"},
		{"bad merge", merges, content("#version: 0.2\na b c\n"), "", "line 2", "two tokens"},
		{"unknown merge", merges, content("#version: 0.2\nq z\n"), "", "line 2", `"qz" is not in vocab.json`},
		{"unknown end", tokens, setField("eos_token", "<end>"), "", "eos_token", `"<end>" is not in vocab.json`},
		{"endless prompts", tokens, setField("model_max_length", 1e30), "", "model_max_length", "such as 77"},
		{"no text encoder", "text_encoder/model.onnx", remove, "", "", "is missing"},
		{"empty text encoder", "text_encoder/model.onnx", content(""), "", "", "is empty"},
		{"truncated network", "unet/model.onnx", truncate, "", "", "cut short"},
		{"truncated decoder", "vae_decoder/model.onnx", truncate, "", "", "cut short"},
		{"network is text", "unet/model.onnx", content("version https://git-lfs.github.com/spec/v1"), "", "", "not an ONNX file"},
		{"flipped bits", "unet/model.onnx", flip, "", "", ""},
		{"decoder in place of the network", "unet/model.onnx", replaceWith("vae_decoder/model.onnx"), "", "input latent_sample", "not supported"},
		{"network in place of the decoder", "vae_decoder/model.onnx", replaceWith("unet/model.onnx"), "", "input sample", "not supported"},
		{"network leads out", "unet/model.onnx", leadOut, "", "", "can't be opened"},
	} {
		t.Run(c.name, func(t *testing.T) {
			model := copyModel(t)
			c.damage(t, filepath.Join(model.Dir, c.file))
			p := newPipeline(t)
			err := p.Load(t.Context(), model)
			var defect *ModelError
			if !errors.As(err, &defect) {
				t.Fatalf("got %v, want a ModelError", err)
			}
			want := c.file
			if c.wantFile != "" {
				want = c.wantFile
			}
			if defect.File != want || defect.Field != c.field || !strings.Contains(defect.Message, c.message) {
				t.Errorf("got %q, %q: %s; want %q, %q: …%s…", defect.File, defect.Field, defect.Message, want, c.field, c.message)
			}
			if health := p.Health(); !health.Healthy || health.Reason != v1alpha1.ReasonIdle {
				t.Errorf("the failed load left %+v", health)
			}
			if report := Inspect(model.Dir); len(report.Problems) == 0 && c.name != "flipped bits" {
				t.Error("Inspect finds nothing")
			}
		})
	}
}

// TestExternalWeightsMustBeInside covers weights that a graph keeps in other files.
func TestExternalWeightsMustBeInside(t *testing.T) {
	model := copyModel(t)
	dir, err := modelstore.Open(model.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	if err := os.Symlink("/etc/passwd", filepath.Join(model.Dir, "unet/link.bin")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(model.Dir, "unet/short.bin"), make([]byte, 99))
	for location, want := range map[string]ModelError{
		"weights.bin":            {File: "unet/weights.bin", Message: "is missing"},
		"../../../../etc/passwd": {File: "../../../etc/passwd", Message: "leads out"},
		"link.bin":               {File: "unet/link.bin", Message: "can't be opened"},
		"../unet":                {File: "unet", Message: "regular file"},
		"/etc/passwd":            {File: "unet/model.onnx", Field: "external data", Message: `"/etc/passwd"`},
		"short.bin":              {File: "unet/short.bin", Message: "is 99 bytes long, so it was cut short; must be 100 at least"},
	} {
		// ModelProto.graph.initializer.external_data, and no more.
		var weight []byte
		for _, entry := range [][2]string{{"location", location}, {"offset", "60"}, {"length", "40"}} {
			weight = append(weight, field(13, append(field(1, []byte(entry[0])), field(2, []byte(entry[1]))...))...)
		}
		put(t, filepath.Join(model.Dir, "unet/model.onnx"), field(7, field(5, weight)))
		_, err := openGraph(dir, modelstore.UNet, filepath.Join(model.Dir, "unet/model.onnx"))
		var defect *ModelError
		if !errors.As(err, &defect) || defect.File != want.File || defect.Field != want.Field || !strings.Contains(defect.Message, want.Message) {
			t.Errorf("%s: got %v, want an error like %v", location, err, &want)
		}
	}
}

// TestHuggingFaceCacheIsRead loads a model whose files are links to blobs beside it.
func TestHuggingFaceCacheIsRead(t *testing.T) {
	whole := modelFiles(t, testModel(t, tiny))
	cache := filepath.Join(t.TempDir(), "models--test--tiny")
	snapshot := filepath.Join(cache, "snapshots", "0123abcd")
	for i, name := range whole.names {
		blob := filepath.Join(cache, "blobs", strconv.Itoa(i))
		link := filepath.Join(snapshot, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(blob), 0o700), os.MkdirAll(filepath.Dir(link), 0o700)); err != nil {
			t.Fatal(err)
		}
		put(t, blob, whole.data[name])
		to, err := filepath.Rel(filepath.Dir(link), blob)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := newPipeline(t).Load(t.Context(), Model{Name: "cached", Dir: snapshot}); err != nil {
		t.Error(err)
	}
	if problems := Inspect(snapshot).Problems; len(problems) > 0 {
		t.Errorf("Inspect finds %v", problems)
	}
}

// TestGraphsOfAnotherKindAreNamed gives inputs and outputs other types and ranks.
func TestGraphsOfAnotherKindAreNamed(t *testing.T) {
	const free = -1
	for _, c := range []struct {
		part, value string
		kind        ort.ElementType
		shape       []int64
		message     string
	}{
		{modelstore.TextEncoder, "input input_ids", ort.TypeFloat32, []int64{free, free}, "has elements of float32; must be one of [int64 int32]"},
		{modelstore.TextEncoder, "input input_ids", ort.TypeInt64, []int64{free}, "has the shape [-1]; must have 2 dimensions"},
		{modelstore.TextEncoder, "input input_ids", ort.TypeInt64, []int64{1, 76}, "dimension 1 must be 77"},
		{modelstore.TextEncoder, "output last_hidden_state", ort.TypeInt64, []int64{free, free, 16}, "has elements of int64"},
		{modelstore.TextEncoder, "output last_hidden_state", ort.TypeFloat32, []int64{free, 16}, "must have 3 dimensions"},
		{modelstore.UNet, "input sample", ort.TypeBool, []int64{free, 4, free, free}, "has elements of bool"},
		{modelstore.UNet, "input sample", ort.TypeFloat32, []int64{free, 4, free}, "must have 4 dimensions"},
		{modelstore.UNet, "input sample", ort.TypeFloat32, []int64{1, 4, free, free}, "dimension 0 must not be fixed"},
		{modelstore.UNet, "input sample", ort.TypeFloat32, []int64{free, 9, free, free}, "dimension 1 must be 4"},
		{modelstore.UNet, "input timestep", ort.TypeFloat32, []int64{1, 1}, "must be a scalar or a list"},
		{modelstore.UNet, "input encoder_hidden_states", 8, []int64{free, free, 16}, "has elements of ONNX type 8"},
		{modelstore.UNet, "output out_sample", ort.TypeFloat32, []int64{}, "must have 4 dimensions"},
		{modelstore.VAEDecoder, "input latent_sample", ort.TypeFloat32, []int64{free, 4, free, free, free}, "must have 4 dimensions"},
		{modelstore.VAEDecoder, "output sample", ort.TypeFloat32, []int64{free, 4, free, free}, "dimension 1 must be 3"},
		{modelstore.VAEDecoder, "output sample", 2, []int64{free, 3, free, free}, "has elements of ONNX type 2"},
	} {
		p, _ := loadFake(t)
		loaded := p.current()
		graph := map[string]ort.Session{modelstore.TextEncoder: loaded.textEncoder, modelstore.UNet: loaded.unet, modelstore.VAEDecoder: loaded.vaeDecoder}[c.part].Graph()
		graph.Inputs, graph.Outputs = slices.Clone(graph.Inputs), slices.Clone(graph.Outputs)
		for kind, values := range map[string][]ort.Value{"input ": graph.Inputs, "output ": graph.Outputs} {
			for i, v := range values {
				if kind+v.Name == c.value {
					values[i].Type, values[i].Shape = c.kind, c.shape
				}
			}
		}
		err := checkGraph(c.part, graph, loaded.config, loaded.tokenizer.MaxLength())
		var defect *ModelError
		if !errors.As(err, &defect) || defect.File != c.part+"/model.onnx" || defect.Field != c.value || !strings.Contains(defect.Message, c.message) {
			t.Errorf("%s %s, %s of shape %v: got %v, want …%s…", c.part, c.value, c.kind, c.shape, err, c.message)
		}
	}
}

// field is a protocol buffer's field of fewer than 128 bytes.
func field(number byte, data []byte) []byte {
	return append([]byte{number<<3 | 2, byte(len(data))}, data...)
}

// TestSwapClosesBeforeItOpens holds the order of a destructive swap.
func TestSwapClosesBeforeItOpens(t *testing.T) {
	p, runtime := loadFake(t)
	runtime.log = nil
	second := copyModel(t)
	if err := p.Load(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	want := []string{"close text_encoder", "close unet", "close vae_decoder", "open text_encoder", "open unet", "open vae_decoder"}
	slices.Sort(runtime.log[len(runtime.log)/2:]) // They are opened side by side.
	if !slices.Equal(runtime.log, want) {
		t.Errorf("the swap did %v, want %v", runtime.log, want)
	}
	if loaded, ok := p.Loaded(); !ok || loaded != second {
		t.Errorf("loaded is %+v, %v", loaded, ok)
	}
}

// TestOldModelIsGoneBeforeTheNewOneIsRead swaps to a model that is not there.
func TestOldModelIsGoneBeforeTheNewOneIsRead(t *testing.T) {
	p, runtime := loadFake(t)
	err := p.Load(t.Context(), Model{Name: "missing", Dir: filepath.Join(t.TempDir(), "missing")})
	if _, ok := errors.AsType[*ModelError](err); !ok {
		t.Errorf("got %v, want a ModelError", err)
	}
	if _, ok := p.Loaded(); ok || runtime.left() != 0 || p.Health().Reason != v1alpha1.ReasonIdle {
		t.Errorf("%d sessions are left; health %+v", runtime.left(), p.Health())
	}
}

func TestLoadingTheLoadedModelDoesNothing(t *testing.T) {
	p, runtime := loadFake(t)
	runtime.log = nil
	if err := p.Load(t.Context(), testModel(t, tiny)); err != nil {
		t.Fatal(err)
	}
	if len(runtime.log) != 0 {
		t.Errorf("it did %v", runtime.log)
	}
	other := testModel(t, tiny)
	other.Generation++
	if err := p.Load(t.Context(), other); err != nil || len(runtime.log) != 6 {
		t.Errorf("another generation: %v, %v", runtime.log, err)
	}
}

// TestLoadFailsWhole fails each session in turn and wants nothing half-loaded.
func TestLoadFailsWhole(t *testing.T) {
	for _, part := range []string{modelstore.TextEncoder, modelstore.UNet, modelstore.VAEDecoder} {
		runtime := &fakeRuntime{openErr: map[string]error{part: errors.New("out of memory")}}
		p := New(runtime)
		err := p.Load(t.Context(), testModel(t, tiny))
		var defect *ModelError
		if err == nil || errors.As(err, &defect) {
			t.Errorf("%s: got %v, want an error that does not blame the model", part, err)
		}
		if runtime.left() != 0 || p.Health().Reason != v1alpha1.ReasonIdle {
			t.Errorf("%s: %d sessions are left; health %+v", part, runtime.left(), p.Health())
		}
	}
	runtime := &fakeRuntime{openErr: map[string]error{modelstore.UNet: &ort.GraphError{Err: errors.New("bad protobuf")}}}
	var defect *ModelError
	if err := New(runtime).Load(t.Context(), testModel(t, tiny)); !errors.As(err, &defect) || defect.File != "unet/model.onnx" {
		t.Errorf("a graph at fault: %v", err)
	}
}

// TestPartThatCannotBeClosedStays makes closing fail, and then work.
func TestPartThatCannotBeClosedStays(t *testing.T) {
	p, runtime := loadFake(t)
	runtime.closeErr = map[string]error{modelstore.UNet: errors.New("stuck")}
	if err := p.Unload(); err == nil || !strings.Contains(err.Error(), "closing unet: stuck") {
		t.Errorf("got %v", err)
	}
	if health := p.Health(); health.Healthy || health.Reason != v1alpha1.ReasonPartiallyLoaded {
		t.Errorf("health %+v", health)
	}
	if err := p.Load(t.Context(), testModel(t, tiny)); err == nil {
		t.Error("a model was loaded beside what is left of the last one")
	}
	runtime.closeErr = nil
	if err := p.Load(t.Context(), testModel(t, tiny)); err != nil || !p.IsHealthy() || runtime.left() != 3 {
		t.Errorf("after closing works: %v, %+v, %d sessions", err, p.Health(), runtime.left())
	}
}

// TestPartOfAFailedLoadThatCannotBeClosedStays fails a load and the closing after it.
func TestPartOfAFailedLoadThatCannotBeClosedStays(t *testing.T) {
	runtime := &fakeRuntime{
		openErr:  map[string]error{modelstore.VAEDecoder: errors.New("out of memory")},
		closeErr: map[string]error{modelstore.TextEncoder: errors.New("stuck")},
	}
	p := New(runtime)
	err := p.Load(t.Context(), testModel(t, tiny))
	if err == nil || !strings.Contains(err.Error(), "out of memory") || !strings.Contains(err.Error(), "closing text_encoder: stuck") {
		t.Errorf("got %v", err)
	}
	if health := p.Health(); health.Healthy || runtime.left() != 1 {
		t.Errorf("health %+v with %d sessions", health, runtime.left())
	}
}

// TestTimestepsThatAreTaken goes through what exporters declare.
func TestTimestepsThatAreTaken(t *testing.T) {
	p, _ := loadFake(t)
	loaded := p.current()
	for _, c := range []struct {
		kind  ort.ElementType
		shape []int64
		ok    bool
	}{
		{ort.TypeFloat32, []int64{}, true}, {ort.TypeInt64, []int64{1}, true}, {ort.TypeFloat16, []int64{1}, true}, {ort.TypeInt64, []int64{-1}, true},
		{ort.TypeFloat32, nil, true}, {ort.TypeFloat16, []int64{}, true}, {ort.TypeFloat32, []int64{1, 1}, false}, {ort.TypeBool, []int64{1}, false},
	} {
		graph := loaded.unet.Graph()
		graph.Inputs = slices.Clone(graph.Inputs)
		for i, v := range graph.Inputs {
			if v.Name == inputTimestep {
				graph.Inputs[i].Type, graph.Inputs[i].Shape = c.kind, c.shape
			}
		}
		err := checkGraph(modelstore.UNet, graph, loaded.config, loaded.tokenizer.MaxLength())
		defect, bad := errors.AsType[*ModelError](err)
		if c.ok != (err == nil) || bad && defect.Field != "input timestep" {
			t.Errorf("%v of shape %v: %v", c.kind, c.shape, err)
		}
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	runtime := &fakeRuntime{}
	p := New(runtime)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Load(ctx, testModel(t, tiny)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(runtime.log) != 0 {
		t.Errorf("it did %v", runtime.log)
	}
}

// TestNewIsIdle makes a pipeline over a library that does not exist.
func TestNewIsIdle(t *testing.T) {
	p := New(ort.New(ort.Options{Library: "/there/is/no/such/library.so"}))
	if health := p.Health(); !health.Healthy || health.Reason != v1alpha1.ReasonIdle {
		t.Errorf("health %+v", health)
	}
	if _, ok := p.Loaded(); ok {
		t.Error("a model is loaded")
	}
	if _, ok := p.Device(); ok {
		t.Error("a device is known")
	}
	if err := p.Unload(); err != nil {
		t.Error(err)
	}
	if _, err := p.Generate(t.Context(), Request{}, nil); !errors.Is(err, errNotLoaded) {
		t.Errorf("Generate: %v", err)
	}
}
