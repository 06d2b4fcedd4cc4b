// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// TestLargePicturesAreTiled counts the pixels that the VAE sees at once. That tiles come
// out as those of diffusers is what the tiled cases of TestLayoutsEqualPython compare.
func TestLargePicturesAreTiled(t *testing.T) {
	p, runtime := loadFake(t)
	loaded := p.current()
	loaded.config.VAE.SampleSize = 512
	for _, c := range []struct {
		width, height int
		tiled         bool
	}{{1024, 1024, false}, {1536, 1024, false}, {1536, 1028, true}, {4096, 400, true}} {
		plan, err := loaded.plan(imageRequest(c.width, c.height))
		if err != nil || plan.tiled != c.tiled {
			t.Fatalf("%dx%d: tiled is %t (%v), want %t", c.width, c.height, plan.tiled, err, c.tiled)
		}
		most, calls := map[string]int{}, map[string]int{}
		runtime.run = func(_ context.Context, part string, inputs, outputs map[string]*ort.Tensor) error {
			for _, tensor := range []*ort.Tensor{inputs[inputPicture], outputs[outputPicture]} {
				if tensor != nil {
					most[part] = max(most[part], int(tensor.Shape[2]*tensor.Shape[3]))
				}
			}
			calls[part]++
			return nil
		}
		if _, err := loaded.encodeImage(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		if _, err := loaded.newDecoder(plan).decode(t.Context(), make([]float32, plan.latents())); err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{modelstore.VAEEncoder, modelstore.VAEDecoder} {
			want, rows := c.width*c.height, 1
			if c.tiled {
				want, rows = 512*min(512, c.height), (c.height+383)/384*((c.width+383)/384)
			}
			if most[part] != want || calls[part] != rows {
				t.Errorf("%s sees up to %d pixels of %dx%d in %d calls, want %d in %d", part, most[part], c.width, c.height, calls[part], want, rows)
			}
		}
	}
}

// TestTileSidesHoldQuartersOfLatents looks at sizes that VAEs state, usual and odd.
func TestTileSidesHoldQuartersOfLatents(t *testing.T) {
	for side, want := range map[int][2]int{512: {64, 512}, 1024: {128, 1024}, 0: {64, 512}, 500: {60, 480}, 1: {4, 32}} {
		latents, pixels := tileSides(modelstore.VAEConfig{SampleSize: side, BlockOutChannels: make([]int, 4)})
		if latents != want[0] || pixels != want[1] {
			t.Errorf("%d: got %d and %d, want %v", side, latents, pixels, want)
		}
	}
}

// TestTilesMeetWithoutASeam puts a network of tiles that changes nothing but the scale
// before every size of a picture around that of a tile.
func TestTilesMeetWithoutASeam(t *testing.T) {
	tiles := tiling{side: 8, stride: 6, blend: 4, keep: 12}
	for height := int64(1); height < 24; height++ {
		for _, width := range []int64{1, 6, 9, 20} {
			in, out := ort.NewFloat32(1, 2, height, width), ort.NewFloat32(1, 2, 2*height, 2*width)
			for i := range in.F32 {
				in.F32[i] = float32(i)
			}
			double := func(tile *ort.Tensor) (*ort.Tensor, error) {
				large := ort.NewFloat32(1, 2, 2*tile.Shape[2], 2*tile.Shape[3])
				for c := range 2 {
					for y := range int(large.Shape[2]) {
						for x := range int(large.Shape[3]) {
							line(large, c, y)[x] = line(tile, c, y/2)[x/2]
						}
					}
				}
				return large, nil
			}
			if err := tiles.run(in, out, double); err != nil {
				t.Fatal(err)
			}
			want, _ := double(in)
			near(t, "enlarged", out.F32, want.F32)
		}
	}
}

// endingSession ends a context after a run.
type endingSession struct {
	ort.Session
	end   context.CancelFunc
	calls int
}

func (s *endingSession) Run(ctx context.Context, inputs, outputs map[string]*ort.Tensor) error {
	defer s.end()
	s.calls++
	return s.Session.Run(ctx, inputs, outputs)
}

// TestTilingEndsWithItsContext wants no second tile of the real network.
func TestTilingEndsWithItsContext(t *testing.T) {
	p := loadTest(t, tiny).current()
	plan, err := p.plan(request())
	if err != nil {
		t.Fatal(err)
	}
	plan.tiled, plan.Width, plan.Height, plan.latent = true, 64, 64, [3]int{4, 32, 32}
	ctx, cancel := context.WithCancel(t.Context())
	session := &endingSession{Session: p.vaeDecoder, end: cancel}
	p.vaeDecoder = session
	if _, err := p.newDecoder(plan).decode(ctx, make([]float32, plan.latents())); !errors.Is(err, context.Canceled) || session.calls != 2 {
		t.Errorf("%v after %d calls", err, session.calls)
	}
}

// TestFadeRunsFromOneTileToTheNext never reaches the end, which is the next tile's own.
func TestFadeRunsFromOneTileToTheNext(t *testing.T) {
	var got []float32
	for i := range 4 {
		got = append(got, fade(8, 4, i, 4))
	}
	if want := []float32{8, 7, 6, 5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
