// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package vp8l

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/webp"
)

// decode reads a bitstream with another implementation.
func decode(bitstream []byte) (image.Image, error) {
	var file bytes.Buffer
	if len(bitstream)%2 != 0 {
		bitstream = append(bytes.Clone(bitstream), 0)
	}
	file.WriteString("RIFF")
	_ = binary.Write(&file, binary.LittleEndian, uint32(12+len(bitstream)))
	file.WriteString("WEBPVP8L")
	_ = binary.Write(&file, binary.LittleEndian, uint32(len(bitstream)))
	file.Write(bitstream)
	return webp.Decode(&file)
}

// check encodes a picture, wants it back pixel by pixel, and gives the number of bytes.
func check(t *testing.T, picture *image.NRGBA) int {
	t.Helper()
	bitstream, err := Encode(picture)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := decode(bitstream)
	if err != nil {
		t.Fatal(err)
	}
	got := decoded.(*image.NRGBA)
	if got.Rect.Size() != picture.Rect.Size() {
		t.Fatalf("the picture has %v, want %v", got.Rect.Size(), picture.Rect.Size())
	}
	width := 4 * got.Rect.Dx()
	for y := range got.Rect.Dy() {
		if !bytes.Equal(got.Pix[y*got.Stride:][:width], picture.Pix[y*picture.Stride:][:width]) {
			t.Fatalf("row %d differs", y)
		}
	}
	return len(bitstream)
}

// paint makes a picture of a function's colours.
func paint(width, height int, colour func(x, y int) [3]byte) *image.NRGBA {
	p := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := colour(x, y)
			copy(p.Pix[p.PixOffset(x, y):], []byte{c[0], c[1], c[2], 255})
		}
	}
	return p
}

func TestEncode(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(int, int) [3]byte {
		return [3]byte{byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())}
	}
	for name, colour := range map[string]func(x, y int) [3]byte{
		"black":  func(int, int) [3]byte { return [3]byte{} },
		"white":  func(int, int) [3]byte { return [3]byte{255, 255, 255} },
		"noise":  noise,
		"smooth": func(x, y int) [3]byte { return [3]byte{byte(x), byte(y), byte(x + y)} },
		"cloth":  func(x, y int) [3]byte { return [3]byte{byte(x % 7 * 30), byte(y % 5 * 50), byte(x * y % 3)} },
		"steps":  func(x, y int) [3]byte { return [3]byte{byte(x / 16 * 40), byte(y / 16 * 40), 7} },
		"mixed": func(x, y int) [3]byte {
			if x < 20 || y < 20 {
				return [3]byte{200, byte(y), 3}
			}
			return noise(x, y)
		},
	} {
		for _, size := range []image.Point{{1, 1}, {1, 50}, {50, 1}, {2, 2}, {16, 16}, {17, 33}, {64, 48}, {301, 97}} {
			t.Run(name+" "+size.String(), func(t *testing.T) { check(t, paint(size.X, size.Y, colour)) })
		}
	}
}

// TestEncodeEvenHistogram has every red equally often: all lengths of that code are alike.
func TestEncodeEvenHistogram(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	values := make([]byte, 1024)
	for i := range values {
		values[i] = byte(i)
	}
	random.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	check(t, paint(1024, 1, func(x, _ int) (c [3]byte) {
		for i := range x + 1 { // What the left neighbour leaves of the sum is the value.
			c[0] += values[i]
		}
		return c
	}))
}

// TestEncodeSteepHistogram needs codes longer than the format has, unless they are limited:
// how often a value occurs grows as the Fibonacci numbers.
func TestEncodeSteepHistogram(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	var values []byte
	for value, a, b := 0, 1, 1; value < 21; value, a, b = value+1, b, a+b {
		values = append(values, bytes.Repeat([]byte{byte(11 * value)}, a)...)
	}
	random.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	const width = 160
	check(t, paint(width, len(values)/width, func(x, y int) [3]byte {
		g := byte(random.Uint32())
		return [3]byte{g + values[y*width+x], g, g}
	}))
}

// TestSubimage encodes a part of a larger picture.
func TestSubimage(t *testing.T) {
	whole := paint(40, 30, func(x, y int) [3]byte { return [3]byte{byte(7 * x), byte(5 * y), 9} })
	check(t, whole.SubImage(image.Rect(3, 4, 30, 20)).(*image.NRGBA))
}

// TestEncodeIsSmallerThanPNG on pictures that a model drew.
func TestEncodeIsSmallerThanPNG(t *testing.T) {
	files, err := filepath.Glob("../../../test/testdata/goldens/fluent-emoji/*/picture.png")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	ours, reference := 0, 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		size := decoded.Bounds().Size()
		ours += check(t, paint(size.X, size.Y, func(x, y int) [3]byte {
			r, g, b, _ := decoded.At(x, y).RGBA()
			return [3]byte{byte(r >> 8), byte(g >> 8), byte(b >> 8)}
		}))
		reference += len(data)
	}
	t.Logf("%d pictures: %d bytes, and as PNG %d", len(files), ours, reference)
	if ours >= reference {
		t.Errorf("%d pictures have %d bytes, and as PNG %d", len(files), ours, reference)
	}
}

func TestEncodeRefusesSizes(t *testing.T) {
	for _, size := range []image.Rectangle{image.Rect(0, 0, 0, 5), image.Rect(0, 0, maxSide+1, 1), image.Rect(0, 0, 1, maxSide+1)} {
		if _, err := Encode(image.NewNRGBA(size)); err == nil || !strings.Contains(err.Error(), "must be from 1 to 16384") {
			t.Errorf("%v: got %v", size, err)
		}
	}
}

// FuzzEncode makes pictures of bytes and widths.
func FuzzEncode(f *testing.F) {
	f.Add([]byte("a picture of these few bytes, of which some repeat, some repeat"), uint8(4))
	f.Add(bytes.Repeat([]byte{1, 2, 3, 250}, 300), uint8(1))
	f.Add([]byte{0}, uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, width uint8) {
		w := int(width) + 1
		height := len(data) / 3 / w
		if height == 0 || height > 2000 {
			t.Skip()
		}
		check(t, paint(w, height, func(x, y int) [3]byte { return [3]byte(data[3*(y*w+x):]) }))
	})
}
