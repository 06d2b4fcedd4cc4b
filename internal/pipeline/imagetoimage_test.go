// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// imageRequest is a small one that begins with a picture of a size, in one colour.
func imageRequest(width, height int) Request {
	r := request()
	source := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range source.Pix {
		source.Pix[i] = 200
	}
	r.Image = source
	return r
}

func TestFirstTimestep(t *testing.T) {
	for _, c := range []struct {
		steps, order int
		strength     float64
		want         int // -1 is an error.
	}{
		{50, 1, 0.8, 10},
		{50, 1, 1, 0},
		{20, 2, 0.8, 8},
		{3, 1, 0.8, 1}, // int(2.4) steps are left.
		{10, 1, 0.1, 9},
		{10, 1, 0.09, -1},
		{10, 1, 0.7, 3},
		{100, 1, 0.29, 72}, // 100 times 0.29 is 28.999999999999996 in Python too.
		{1, 1, 0.99, -1},
		{1, 1, 1, 0},
	} {
		r := imageRequest(16, 16)
		r.Steps, r.Strength = c.steps, c.strength
		got, err := firstTimestep(r, c.order)
		var bad *RequestError
		if c.want < 0 && (!errors.As(err, &bad) || bad.Field != "strength") || c.want >= 0 && (err != nil || got != c.want) {
			t.Errorf("%d steps of order %d at %v: got %d (%v), want %d", c.steps, c.order, c.strength, got, err, c.want)
		}
	}
	r := request()
	r.Strength = 0.001
	if got, err := firstTimestep(r, 1); got != 0 || err != nil {
		t.Errorf("without a picture: %d, %v", got, err)
	}
}

// TestSizeOfAPictureToBeginWith wants it rounded down where no size is asked for.
func TestSizeOfAPictureToBeginWith(t *testing.T) {
	p, _ := loadFake(t) // Multiples of 4.
	for _, c := range []struct{ width, height, askWidth, askHeight, wantWidth, wantHeight int }{
		{37, 29, 0, 0, 36, 28},
		{16, 16, 0, 0, 16, 16},
		{37, 29, 8, 0, 8, 28},
		{37, 29, 0, 64, 36, 64},
		{5000, 4, 16, 16, 16, 16},
	} {
		r := imageRequest(c.width, c.height)
		r.Width, r.Height = c.askWidth, c.askHeight
		plan, err := p.current().plan(r)
		if err != nil || plan.Width != c.wantWidth || plan.Height != c.wantHeight || plan.Strength != DefaultStrength {
			t.Errorf("%+v: got %dx%d at strength %v (%v)", c, plan.Width, plan.Height, plan.Strength, err)
		}
	}
}

func TestPicturesThatCannotBeBegunWith(t *testing.T) {
	whole := func(t testing.TB) Model { t.Helper(); return copyModel(t) }
	without := func(t testing.TB) Model {
		t.Helper()
		m := copyModel(t)
		remove(t, filepath.Join(m.Dir, modelstore.GraphFile(modelstore.VAEEncoder)))
		return m
	}
	for _, c := range []struct {
		name    string
		model   func(testing.TB) Model
		request Request
		field   string
		message string
	}{
		{"no VAE encoder", without, imageRequest(16, 16), "image", "no VAE encoder"},
		{"too small", whole, imageRequest(3, 16), "image", "at least 4x4"},
		{"empty", whole, imageRequest(0, 0), "image", "at least 4x4"},
		{"absurdly large", whole, Request{Steps: 3, Images: 1, Image: image.NewUniform(color.White)}, "image", "at most 89478485"},
		{"larger than can be drawn", whole, imageRequest(5000, 16), "width", "4096"},
	} {
		p := New(&fakeRuntime{})
		if err := p.Load(t.Context(), c.model(t)); err != nil {
			t.Fatal(err)
		}
		_, err := p.Generate(t.Context(), c.request, nil)
		var bad *RequestError
		if !errors.As(err, &bad) || bad.Field != c.field || !strings.Contains(bad.Message, c.message) {
			t.Errorf("%s: got %v, want %s with %q", c.name, err, c.field, c.message)
		}
	}
}

// TestBeginningWithAPictureIsReproducible compares a batch with pictures drawn alone, which
// share nothing but the picture they begin with.
func TestBeginningWithAPictureIsReproducible(t *testing.T) {
	p := loadTest(t, tiny)
	draw := func(change func(*Request)) []Picture {
		t.Helper()
		r := imageRequest(16, 16)
		r.Image = readPNG(t, filepath.Join(goldensDir, "layouts", "source.png"))
		change(&r)
		done := -1 // As the first word is that nothing is done.
		result, err := p.Generate(t.Context(), r, func(now, total int) {
			if done++; now != done || total != 2*r.Images { // int(3 * 0.8) steps each.
				t.Errorf("observed %d of %d", now, total)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return result.Pictures
	}
	batch := draw(func(r *Request) { r.Images = 2 })
	for k, picture := range batch {
		alone := draw(func(r *Request) { r.Seed += int64(k) })
		if !bytes.Equal(picture.Image.Pix, alone[0].Image.Pix) {
			t.Errorf("picture %d differs from the one drawn alone", k)
		}
	}
	if bytes.Equal(batch[0].Image.Pix, batch[1].Image.Pix) {
		t.Error("two seeds give one picture")
	}
	if size := batch[0].Image.Bounds().Size(); size != image.Pt(36, 28) || batch[0].Parameters.Width != 36 {
		t.Errorf("the picture is %v", size)
	}
}

// TestOlderEncodersDrawTheSampleThemselves wants the generator's first numbers to be the
// noise then.
func TestOlderEncodersDrawTheSampleThemselves(t *testing.T) {
	model := copyModel(t)
	putGraph(t, model, modelstore.VAEEncoder, []ort.Value{{Name: inputPicture, Type: ort.TypeFloat32, Shape: plane(3)}},
		[]ort.Value{{Name: outputLatents, Type: ort.TypeFloat32, Shape: plane(4)}})
	runtime := &fakeRuntime{}
	p := New(runtime)
	if err := p.Load(t.Context(), model); err != nil {
		t.Fatal(err)
	}
	runtime.run = func(_ context.Context, part string, inputs, outputs map[string]*ort.Tensor) error {
		if part != modelstore.VAEEncoder {
			return nil
		}
		if v, want := inputs[inputPicture].F32[0], float32(2*(float32(200)/255))-1; v != want {
			t.Errorf("the network sees %v, want %v", v, want)
		}
		for i := range outputs[outputLatents].F32 {
			outputs[outputLatents].F32[i] = 3
		}
		return nil
	}
	plan, err := p.current().plan(imageRequest(16, 16))
	if err != nil {
		t.Fatal(err)
	}
	begun, err := p.current().encodeImage(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	got, random := make([]float32, plan.latents()), make([]float32, plan.latents())
	begun.sample(got, random, nil) // Without a generator to draw from.
	if want := float32(3) * float32(0.18215); got[0] != want || got[len(got)-1] != want {
		t.Errorf("got %v, want %v", got[0], want)
	}
}

func TestDeviationsAreClamped(t *testing.T) {
	got := deviations([]float32{0, 2, -100, 100})
	near(t, "deviations", got[:2], []float32{1, math.E})
	near(t, "small deviation", got[2:3], []float32{3.0590232050182579e-07}) // e to the -15
	near(t, "large deviation", got[3:], []float32{22026.465794806718})      // e to the 10
}

// endingImage ends a context when its colours are read.
type endingImage struct {
	image.Image
	end context.CancelFunc
}

func (e endingImage) At(x, y int) color.Color {
	e.end()
	return e.Image.At(x, y)
}

// TestBeginningWithAPictureEndsWithItsContext cancels while the picture is prepared, and
// inside its encoder.
func TestBeginningWithAPictureEndsWithItsContext(t *testing.T) {
	p, runtime := loadFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := imageRequest(16, 16)
	r.Image = endingImage{r.Image, cancel}
	if _, err := p.Generate(ctx, r, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("while preparing: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	runtime.run = func(ctx context.Context, part string, _, _ map[string]*ort.Tensor) error {
		if part == modelstore.VAEEncoder {
			cancel()
			<-ctx.Done()
		}
		return ctx.Err()
	}
	if _, err := p.Generate(ctx, imageRequest(16, 16), nil); !errors.Is(err, context.Canceled) || !p.IsHealthy() {
		t.Errorf("while encoding: %v; %+v", err, p.Health())
	}
}

// TestRealVAEEndsWithItsContext ends encoding and decoding of a picture that takes the real
// network far longer than the context lasts.
func TestRealVAEEndsWithItsContext(t *testing.T) {
	p := loadTest(t, tiny).current()
	plan, err := p.plan(imageRequest(1024, 1024))
	if err != nil || plan.tiled {
		t.Fatalf("tiled: %t (%v)", plan.tiled, err)
	}
	begin := func(ctx context.Context) error {
		_, err := p.encodeImage(ctx, plan)
		return err
	}
	if err := begin(t.Context()); err != nil { // Opens the session.
		t.Fatal(err)
	}
	canvas := p.newDecoder(plan)
	for name, run := range map[string]func(context.Context) error{
		"encoding": begin,
		"decoding": func(ctx context.Context) error {
			_, err := canvas.decode(ctx, make([]float32, plan.latents()))
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

// TestGuidanceIsRescaledOnlyWhereThereIsGuidance compares pictures.
func TestGuidanceIsRescaledOnlyWhereThereIsGuidance(t *testing.T) {
	p := loadTest(t, tiny)
	draw := func(guidance, rescale float64) []uint8 {
		t.Helper()
		r := request()
		r.GuidanceScale, r.GuidanceRescale = guidance, rescale
		result, err := p.Generate(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return result.Pictures[0].Image.Pix
	}
	if !bytes.Equal(draw(1, 0), draw(1, 0.7)) {
		t.Error("it has an effect without guidance")
	}
	if bytes.Equal(draw(5, 0), draw(5, 0.7)) {
		t.Error("it has no effect with guidance")
	}
}

// TestBlackPicturesAreErrors but for those that begin with a black picture.
func TestBlackPicturesAreErrors(t *testing.T) {
	p, runtime := loadFake(t)
	value := float32(-1)
	runtime.run = func(_ context.Context, part string, _, outputs map[string]*ort.Tensor) error {
		if part == modelstore.VAEDecoder {
			pixels := outputs[outputPicture].F32
			for i := range pixels {
				pixels[i] = -1.5
			}
			pixels[len(pixels)-1] = value
		}
		return nil
	}
	if _, err := p.Generate(t.Context(), request(), nil); !errors.Is(err, errBlack) {
		t.Errorf("a black picture gives %v", err)
	}
	dark := request()
	dark.Image = image.NewGray(image.Rect(0, 0, 16, 16))
	if _, err := p.Generate(t.Context(), dark, nil); err != nil {
		t.Errorf("after a black picture: %v", err)
	}
	if _, err := p.Generate(t.Context(), imageRequest(16, 16), nil); !errors.Is(err, errBlack) {
		t.Errorf("after a bright picture: %v", err)
	}
	value = -0.99 // One value that is 1 of 255.
	if _, err := p.Generate(t.Context(), request(), nil); err != nil {
		t.Errorf("a picture that is all but black gives %v", err)
	}
}

// TestPreviews counts them, and wants none for latents of an unknown kind.
func TestPreviews(t *testing.T) {
	p, _ := loadFake(t)
	var seen []int
	r := request()
	r.Images = 2
	r.Preview = func(done int, preview *image.NRGBA) {
		seen = append(seen, done)
		if preview.Bounds() != image.Rect(0, 0, 8, 8) || !preview.Opaque() {
			t.Errorf("the preview is %v", preview.Bounds())
		}
	}
	if _, err := p.Generate(t.Context(), r, nil); err != nil || !slices.Equal(seen, []int{1, 2, 3, 4, 5, 6}) {
		t.Errorf("previews after %v (%v)", seen, err)
	}
	model := copyModel(t)
	inFile(t, model, "vae_decoder/config.json", "scaling_factor", 0.5)
	if err := p.Load(t.Context(), model); err != nil {
		t.Fatal(err)
	}
	seen = nil
	if _, err := p.Generate(t.Context(), r, nil); err != nil || seen != nil {
		t.Errorf("previews of unknown latents after %v (%v)", seen, err)
	}
}
