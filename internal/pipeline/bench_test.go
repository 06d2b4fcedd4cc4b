// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// timedRuntime measures how long sessions run.
type timedRuntime struct {
	ort.Runtime
	inside time.Duration
}

// Open wraps the session.
func (r *timedRuntime) Open(path string, graph ort.Graph, outputs ...string) (ort.Session, error) {
	session, err := r.Runtime.Open(path, graph, outputs...)
	if err != nil {
		return nil, err
	}
	return timedSession{session, r}, nil
}

type timedSession struct {
	ort.Session
	runtime *timedRuntime
}

func (s timedSession) Run(ctx context.Context, inputs, outputs map[string]*ort.Tensor) error {
	start := time.Now()
	err := s.Session.Run(ctx, inputs, outputs)
	s.runtime.inside += time.Since(start)
	return err
}

// BenchmarkPicture draws pictures and encodes them, and reports what share of the time is
// spent outside of ONNX Runtime's sessions. ATELIER_BENCH_MODEL names the directory of a
// larger model, and ATELIER_BENCH_STEPS its steps.
func BenchmarkPicture(b *testing.B) {
	for _, name := range []string{tiny, "fluent-emoji"} {
		b.Run(name, func(b *testing.B) { benchmarkPicture(b, testModel(b, name), 20) })
	}
	b.Run("large", func(b *testing.B) {
		dir := os.Getenv("ATELIER_BENCH_MODEL")
		if _, err := os.Stat(dir); err != nil {
			b.Skipf("ATELIER_BENCH_MODEL names no model: %v", err)
		}
		steps, err := strconv.Atoi(cmp.Or(os.Getenv("ATELIER_BENCH_STEPS"), "20"))
		if err != nil {
			b.Fatal(err)
		}
		benchmarkPicture(b, Model{Name: "large", Dir: dir}, steps)
	})
}

func benchmarkPicture(b *testing.B, model Model, steps int) {
	runtime := &timedRuntime{Runtime: ort.New(ort.Options{})}
	p := New(runtime)
	if err := p.Load(b.Context(), model); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Unload(); err != nil {
			b.Error(err)
		}
	})
	r := request()
	r.Width, r.Height, r.Steps = 0, 0, steps
	b.ReportAllocs()
	for b.Loop() {
		drawAndEncode(b, func() ([]Picture, error) {
			result, err := p.Generate(b.Context(), r, nil)
			return result.Pictures, err
		})
	}
	outside := b.Elapsed() - runtime.inside
	b.ReportMetric(float64(outside.Microseconds())/float64(b.N), "outside-µs/op")
	b.ReportMetric(100*outside.Seconds()/b.Elapsed().Seconds(), "outside-%")
}

// BenchmarkOutside512 is everything but the networks for a picture of Stable Diffusion
// 1.5's size, 512x512 in 50 steps with guidance: soft colours with a little noise, which
// take about as long to compress as a photograph.
func BenchmarkOutside512(b *testing.B) {
	runtime := &fakeRuntime{}
	p := New(runtime)
	if err := p.Load(b.Context(), testModel(b, tiny)); err != nil {
		b.Fatal(err)
	}
	loaded := p.current()
	loaded.config.TextEncoder.HiddenSize = 768
	loaded.config.VAE.BlockOutChannels = []int{128, 256, 512, 512}
	r := request()
	r.Width, r.Height, r.Steps = 512, 512, 50
	plan, err := loaded.plan(r)
	if err != nil {
		b.Fatal(err)
	}
	colours := make([]float32, colourChannels*512*512)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range colours {
		colours[i] = float32(math.Sin(float64(i%512)/90)*math.Cos(float64(i/512)/70) + 0.02*random.NormFloat64())
	}
	runtime.run = func(_ context.Context, part string, _, outputs map[string]*ort.Tensor) error {
		if part == modelstore.VAEDecoder {
			copy(outputs[outputPicture].F32, colours)
		}
		return nil
	}
	b.ReportAllocs()
	for b.Loop() {
		drawAndEncode(b, func() ([]Picture, error) { return loaded.generate(b.Context(), plan, nil) })
	}
}

func drawAndEncode(b *testing.B, draw func() ([]Picture, error)) {
	pictures, err := draw()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := artifact.Encode(artifact.PNG, pictures[0].Image, pictures[0].Parameters); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLoad loads the demo model and drops it.
func BenchmarkLoad(b *testing.B) {
	p := New(ort.New(ort.Options{}))
	model := testModel(b, "fluent-emoji")
	for b.Loop() {
		if err := p.Load(b.Context(), model); err != nil {
			b.Fatal(err)
		}
		if err := p.Unload(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHealth is the check that is made before every generation.
func BenchmarkHealth(b *testing.B) {
	p := New(&fakeRuntime{})
	if err := p.Load(b.Context(), testModel(b, tiny)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !p.IsHealthy() {
			b.Fatal(p.Health())
		}
	}
}
