// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const goldens = "../../test/testdata/goldens/pillow"

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldens, name))
	if err != nil {
		t.Fatalf("%v; run hack/goldens/pillow.py", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// pattern is the picture that hack/goldens/pillow.py resizes.
func pattern(width, height int) RGB {
	p := New(width, height)
	for y := range height {
		for x := range width {
			for c := range channels {
				p.Pix[channels*(width*y+x)+c] = uint8(x*x*(2*c+1)/16 + y*y*(3-c)/16 + x*y*c/8)
			}
		}
	}
	return p
}

// TestResizeEqualsPillow compares every byte, by its digest.
func TestResizeEqualsPillow(t *testing.T) {
	var cases []struct {
		From, To [2]int
		SHA256   string
	}
	readJSON(t, "resize.json", &cases)
	if len(cases) < 20 {
		t.Fatalf("only %d sizes", len(cases))
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.From, " to ", c.To), func(t *testing.T) {
			got, err := pattern(c.From[0], c.From[1]).Resize(t.Context(), c.To[0], c.To[1])
			if err != nil || got.Width != c.To[0] || got.Height != c.To[1] {
				t.Fatalf("%dx%d (%v)", got.Width, got.Height, err)
			}
			if sum := sha256.Sum256(got.Pix); hex.EncodeToString(sum[:]) != c.SHA256 {
				t.Errorf("begins with %v, and is not what Pillow makes", got.Pix[:channels])
			}
		})
	}
}

// TestConvertEqualsPillow reads pictures of each mode.
func TestConvertEqualsPillow(t *testing.T) {
	var want map[string]string
	readJSON(t, "modes.json", &want)
	if len(want) < 7 {
		t.Fatalf("only %d modes", len(want))
	}
	for name, pixels := range want {
		data, err := os.ReadFile(filepath.Join(goldens, "modes", name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		source, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Convert(t.Context(), source)
		if err != nil || got.Width != 6 || got.Height != 4 || hex.EncodeToString(got.Pix) != pixels {
			t.Errorf("%s (%T): %dx%d %x, want %s (%v)", name, source, got.Width, got.Height, got.Pix, pixels, err)
		}
	}
}

// TestConvertKeepsWhatIsTransparent has pictures that Pillow can't write, whose corner is
// not at 0.
func TestConvertKeepsWhatIsTransparent(t *testing.T) {
	area := image.Rect(5, 7, 6, 8)
	deep, premultiplied := image.NewNRGBA64(area), image.NewRGBA(area)
	deep.SetNRGBA64(5, 7, color.NRGBA64{R: 0x12ff, G: 0x3400, B: 0xff80, A: 0})
	premultiplied.SetRGBA(5, 7, color.RGBA{R: 0x10, G: 0x20, B: 0x40, A: 0x80})
	for _, c := range []struct {
		source image.Image
		want   []uint8
	}{{deep, []uint8{0x12, 0x34, 0xff}}, {premultiplied, []uint8{0x1f, 0x3f, 0x7f}}} {
		if got, err := Convert(t.Context(), c.source); err != nil || !slices.Equal(got.Pix, c.want) {
			t.Errorf("%T: got %v, want %v (%v)", c.source, got.Pix, c.want, err)
		}
	}
}

// TestPreparingEndsWithItsContext wants no picture after the context is done.
func TestPreparingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := pattern(8, 8)
	for name, prepare := range map[string]func() (RGB, error){
		"converting":      func() (RGB, error) { return Convert(ctx, image.NewGray(image.Rect(0, 0, 4, 4))) },
		"resizing width":  func() (RGB, error) { return p.Resize(ctx, 4, 8) },
		"resizing height": func() (RGB, error) { return p.Resize(ctx, 8, 4) },
	} {
		if got, err := prepare(); !errors.Is(err, context.Canceled) || got.Pix != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

// BenchmarkResize makes a camera's picture small.
func BenchmarkResize(b *testing.B) {
	p := pattern(4000, 3000)
	for b.Loop() {
		if _, err := p.Resize(b.Context(), 1024, 768); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConvert reads a camera's picture, as JPEG files have it.
func BenchmarkConvert(b *testing.B) {
	source := image.NewYCbCr(image.Rect(0, 0, 4000, 3000), image.YCbCrSubsampleRatio420)
	for b.Loop() {
		if _, err := Convert(b.Context(), source); err != nil {
			b.Fatal(err)
		}
	}
}
