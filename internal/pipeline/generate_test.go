// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"context"
	"errors"
	"image"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// request is a small one that works.
func request() Request {
	return Request{Prompt: "a red apple", Steps: 3, GuidanceScale: 5, Seed: 1, Images: 1}
}

func TestRequestsThatCannotWorkNameTheField(t *testing.T) {
	p, _ := loadFake(t)
	for _, c := range []struct {
		field  string
		change func(*Request)
		want   string
	}{
		{"steps", func(r *Request) { r.Steps = 0 }, "from 1 to 1000"},
		{"steps", func(r *Request) { r.Steps = 1001 }, "from 1 to 1000"},
		{"images", func(r *Request) { r.Images = 0 }, "from 1"},
		{"images", func(r *Request) { r.Images = 1 << 30 }, "from 1"},
		{"seed", func(r *Request) { r.Seed = -1 }, "negative"},
		{"seed", func(r *Request) { r.Seed = math.MaxInt64 }, "room"},
		{"guidanceScale", func(r *Request) { r.GuidanceScale = -1 }, "from 0"},
		{"guidanceScale", func(r *Request) { r.GuidanceScale = math.NaN() }, "from 0"},
		{"guidanceScale", func(r *Request) { r.GuidanceScale = math.Inf(1) }, "from 0"},
		{"guidanceScale", func(r *Request) { r.GuidanceScale = 100.5 }, "to 100"},
		{"guidanceRescale", func(r *Request) { r.GuidanceRescale = 1.5 }, "from 0 to 1"},
		{"guidanceRescale", func(r *Request) { r.GuidanceRescale = math.NaN() }, "from 0 to 1"},
		{"eta", func(r *Request) { r.Eta = -0.1 }, "from 0 to 1"},
		{"strength", func(r *Request) { r.Strength = 1.01 }, "from 0 to 1"},
		{"strength", func(r *Request) { r.Image, r.Strength = image.NewGray(image.Rect(0, 0, 16, 16)), 0.3 }, "none of 3 steps"},
		{"generatorDevice", func(r *Request) { r.Generator = "TPU" }, "CPU"},
		{"width", func(r *Request) { r.Width = 18 }, "multiple of 4"},
		{"width", func(r *Request) { r.Width = -16 }, "multiple of 4"},
		{"width", func(r *Request) { r.Width = 1 << 20 }, "4096"},
		{"height", func(r *Request) { r.Height = 17 }, "such as 16"},
		{"scheduler", func(r *Request) { r.Scheduler = "DreamScheduler" }, "EulerDiscreteScheduler"},
	} {
		r := request()
		c.change(&r)
		_, err := p.Generate(t.Context(), r, nil)
		var bad *RequestError
		if !errors.As(err, &bad) || bad.Field != c.field || !strings.Contains(bad.Message, c.want) {
			t.Errorf("%+v: got %v, want a RequestError of %s with %q", r, err, c.field, c.want)
		}
	}
}

// TestRequestsAreWarnedAbout takes away, one by one, what numbers need to have an effect,
// and names a scheduler that the model's configuration does not suit.
func TestRequestsAreWarnedAbout(t *testing.T) {
	p, _ := loadFake(t)
	for _, c := range []struct {
		change func(*Request)
		want   []string
	}{
		{func(*Request) {}, nil},
		{func(r *Request) { r.GuidanceRescale, r.GuidanceScale = 0.7, 1 }, []string{"guidanceRescale: 0.7: has no effect without guidance"}},
		{func(r *Request) { r.GuidanceRescale = 0.7 }, nil},
		{func(r *Request) { r.Eta = 0.5 }, []string{"eta: 0.5: has no effect without DDIMScheduler"}},
		{func(r *Request) { r.Scheduler = "DDIMScheduler" },
			[]string{`scheduler: DDIMScheduler clips latents to the range from -1 to 1, as scheduler/scheduler_config.json does not say "clip_sample": false`}},
		{func(r *Request) { r.Scheduler = "HeunDiscreteScheduler" }, nil},
		{func(r *Request) { r.Strength = 0.5 }, []string{"strength: 0.5: has no effect without a picture to begin with"}},
		{func(r *Request) { r.Image, r.Strength = image.NewGray(image.Rect(0, 0, 16, 16)), 0.5 }, nil},
	} {
		r := request()
		c.change(&r)
		plan, err := p.current().plan(r)
		if err != nil || !slices.Equal(plan.warnings, c.want) {
			t.Errorf("%+v: got %q (%v), want %q", r, plan.warnings, err, c.want)
		}
	}
}

// TestGeneratorsDrawOtherNumbers compares pictures of one seed.
func TestGeneratorsDrawOtherNumbers(t *testing.T) {
	p := loadTest(t, tiny)
	draw := func(generator diffusion.GeneratorDevice) []uint8 {
		t.Helper()
		r := request()
		r.Generator = generator
		result, err := p.Generate(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return result.Pictures[0].Image.Pix
	}
	cpu := draw("")
	if !bytes.Equal(cpu, draw(diffusion.GeneratorCPU)) {
		t.Error("the CPU's numbers are not the default")
	}
	if bytes.Equal(cpu, draw(diffusion.GeneratorCUDA)) {
		t.Error("the device of the generator has no effect")
	}
}

// TestSchedulerOfTheModelThatIsNotSupported wants another class to be named in place of
// the model's own.
func TestSchedulerOfTheModelThatIsNotSupported(t *testing.T) {
	model := copyModel(t)
	setField("_class_name", "DreamScheduler")(t, model.Dir+"/scheduler/scheduler_config.json")
	p := New(&fakeRuntime{})
	if err := p.Load(t.Context(), model); err != nil {
		t.Fatal(err)
	}
	var defect *ModelError
	if _, err := p.Generate(t.Context(), request(), nil); !errors.As(err, &defect) || defect.Field != "_class_name" {
		t.Errorf("got %v", err)
	}
	r := request()
	r.Scheduler = "EulerDiscreteScheduler"
	if _, err := p.Generate(t.Context(), r, nil); err != nil {
		t.Errorf("with another class: %v", err)
	}
}

// TestPicturesAreReproducible draws twice, in a batch and alone, and with another seed.
func TestPicturesAreReproducible(t *testing.T) {
	p := loadTest(t, tiny)
	draw := func(change func(*Request)) []Picture {
		t.Helper()
		r := request()
		change(&r)
		result, err := p.Generate(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return result.Pictures
	}
	batch := draw(func(r *Request) { r.Images = 3 })
	again := draw(func(r *Request) { r.Images = 3 })
	for k := range batch {
		if !bytes.Equal(batch[k].Image.Pix, again[k].Image.Pix) {
			t.Errorf("picture %d differs the second time", k)
		}
		alone := draw(func(r *Request) { r.Seed += int64(k) })
		if !bytes.Equal(batch[k].Image.Pix, alone[0].Image.Pix) {
			t.Errorf("picture %d differs from the one drawn alone", k)
		}
	}
	if bytes.Equal(batch[0].Image.Pix, batch[1].Image.Pix) {
		t.Error("two seeds give one picture")
	}
	if other := draw(func(r *Request) { r.Prompt = "a blue bird" }); bytes.Equal(batch[0].Image.Pix, other[0].Image.Pix) {
		t.Error("two prompts give one picture")
	}
	if other := draw(func(r *Request) { r.NegativePrompt = "blurry" }); bytes.Equal(batch[0].Image.Pix, other[0].Image.Pix) {
		t.Error("the negative prompt has no effect")
	}
	unguided := draw(func(r *Request) { r.GuidanceScale = 1 })
	if other := draw(func(r *Request) { r.GuidanceScale = 1; r.NegativePrompt = "blurry" }); !bytes.Equal(unguided[0].Image.Pix, other[0].Image.Pix) {
		t.Error("the negative prompt has an effect without guidance")
	}
	got := batch[1].Parameters
	if got.Seed != 2 || got.Width != 16 || got.Method.Class != "EulerDiscreteScheduler" || got.Model != tiny || got.Prompt != "a red apple" {
		t.Errorf("parameters %+v", got)
	}
}

// TestGenerateEndsInsideAStep cancels while a network runs.
func TestGenerateEndsInsideAStep(t *testing.T) {
	for _, part := range []string{modelstore.TextEncoder, modelstore.UNet, modelstore.VAEDecoder} {
		p, runtime := loadFake(t)
		ctx, cancel := context.WithCancel(t.Context())
		runtime.run = func(ctx context.Context, running string, _, _ map[string]*ort.Tensor) error {
			if running != part {
				return nil
			}
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		if _, err := p.Generate(ctx, request(), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", part, err)
		}
		if !p.IsHealthy() {
			t.Errorf("%s: cancelling left %+v", part, p.Health())
		}
	}
}

// TestRealGenerateEndsWithItsContext cancels from the observer, after the first step.
func TestRealGenerateEndsWithItsContext(t *testing.T) {
	p := loadTest(t, tiny)
	ctx, cancel := context.WithCancel(t.Context())
	steps := 0
	r := request()
	r.Steps = 1000
	_, err := p.Generate(ctx, r, func(done, _ int) {
		if steps = done; done == 1 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || steps != 1 {
		t.Errorf("got %v after %d steps", err, steps)
	}
}

// TestNumbersThatMakeNoPictureAreErrors lets each network give NaN or infinity.
func TestNumbersThatMakeNoPictureAreErrors(t *testing.T) {
	for part, want := range map[string]string{
		modelstore.TextEncoder: "encoding the prompt", modelstore.VAEEncoder: "the picture to begin with",
		modelstore.UNet: "denoising step 2", modelstore.VAEDecoder: "decoding",
	} {
		for _, v := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
			p, runtime := loadFake(t)
			runtime.run = func(_ context.Context, running string, _, outputs map[string]*ort.Tensor) error {
				for _, out := range outputs {
					if running == part {
						out.F32[len(out.F32)-1] = v
					}
				}
				return nil
			}
			r := imageRequest(16, 16)
			r.GuidanceScale = 1
			_, err := p.Generate(t.Context(), r, nil)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s gives %v: got %v, want it to name %q", part, v, err, want)
			}
			var defect *ModelError
			if part != modelstore.TextEncoder && (!errors.As(err, &defect) || defect.File != modelstore.GraphFile(part)) {
				t.Errorf("%s gives %v: got %v, want a ModelError", part, v, err)
			}
		}
	}
}

// TestNetworksSeeWhatDiffusersGivesThem looks at the inputs of each network.
func TestNetworksSeeWhatDiffusersGivesThem(t *testing.T) {
	p, runtime := loadFake(t)
	var prompts [][]int64
	runtime.run = func(_ context.Context, part string, inputs, outputs map[string]*ort.Tensor) error {
		switch part {
		case modelstore.TextEncoder:
			prompts = append(prompts, inputs[inputIDs].I64)
			for _, v := range inputs[inputMask].I64 {
				if v != 1 {
					t.Error("the mask hides padding")
				}
			}
			// Tell the prompts apart further on.
			for i := range outputs[outputStates].F32 {
				outputs[outputStates].F32[i] = float32(len(prompts))
			}
		case modelstore.UNet:
			states := inputs[inputStates]
			if states.Shape[0] != 2 || states.F32[0] != 1 || states.F32[len(states.F32)-1] != 2 {
				t.Errorf("conditioning of shape %v", states.Shape)
			}
			sample := inputs[inputSample].F32
			if half := len(sample) / 2; sample[0] != sample[half] || sample[half-1] != sample[len(sample)-1] {
				t.Error("the two samples differ")
			}
			if len(inputs[inputTimestep].Shape) != 0 {
				t.Errorf("timestep of shape %v", inputs[inputTimestep].Shape)
			}
		}
		return nil
	}
	r := request()
	r.NegativePrompt = "red"
	if _, err := p.Generate(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	negative, _, _ := p.current().tokenizer.Encode("red")
	if len(prompts) != 2 || prompts[0][1] != negative[1] {
		t.Errorf("the prompts are %v; the negative one must be the first", prompts)
	}
}

func TestTimestepShape(t *testing.T) {
	for name, c := range map[string]struct{ declared, want []int64 }{
		"scalar": {[]int64{}, []int64{}}, "list": {[]int64{-1}, []int64{1}}, "list of one": {[]int64{1}, []int64{1}},
		"list of two": {[]int64{2}, []int64{2}}, "not stated": {nil, []int64{1}},
	} {
		graph := ort.Graph{Inputs: []ort.Value{{Name: inputTimestep, Shape: c.declared}}}
		got := timestepShape(graph)
		if len(got) != len(c.want) || len(got) == 1 && got[0] != c.want[0] {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestToByteClampsAndRoundsHalfToEven(t *testing.T) {
	for v, want := range map[float32]uint8{-2: 0, -1: 0, 1: 255, 3: 255, 0.5: 191, -0.5: 64} {
		if got := toByte(v); got != want {
			t.Errorf("%v gives %d, want %d", v, got, want)
		}
	}
	halves := 0
	for even := 128; even < 254; even += 2 {
		share := (float32(even) + 0.5) / 255
		if v := 2*share - 1; share*255 == float32(even)+0.5 && (v+1)/2 == share {
			halves++
			if got := toByte(v); int(got) != even {
				t.Errorf("%v.5 is rounded to %d", even, got)
			}
		}
	}
	if halves < 10 {
		t.Errorf("only %d halves were tried", halves)
	}
}

func TestComputeEmbeddingIsAPlaceholder(t *testing.T) {
	embedding, warnings, err := New(&fakeRuntime{}).ComputeEmbedding(t.Context(), "a red apple")
	if err != nil {
		t.Fatal(err)
	}
	if len(embedding.Shape) != 1 || embedding.Shape[0] != 1 || len(embedding.F32) != 1 || embedding.F32[0] != 0 || embedding.I64 != nil {
		t.Errorf("embedding %+v, want one float32 zero of shape [1]", embedding)
	}
	if len(warnings) != 1 || warnings[0] != v1alpha1.PlaceholderEmbeddingWarning {
		t.Errorf("warnings %q", warnings)
	}
}

// TestConcurrentUse calls everything at once; the race detector looks on.
func TestConcurrentUse(t *testing.T) {
	p := newPipeline(t)
	models := []Model{testModel(t, tiny), copyModel(t)}
	var group sync.WaitGroup
	for _, model := range models {
		group.Go(func() {
			for range 3 {
				if err := p.Load(t.Context(), model); err != nil {
					t.Error(err)
				}
				if _, err := p.Generate(t.Context(), request(), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	stop := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if health := p.Health(); !health.Healthy {
				t.Errorf("seen while swapping: %+v", health)
				return
			}
			p.Loaded()
			p.Device()
		}
	})
	group.Wait()
	close(stop)
	watcher.Wait()
}
