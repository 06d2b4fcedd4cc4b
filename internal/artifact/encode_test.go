// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// picture has a different colour in each pixel, smooth enough for JPEG.
func picture() *image.NRGBA {
	p := image.NewNRGBA(image.Rect(0, 0, 21, 13))
	for y := range 13 {
		for x := range 21 {
			p.SetNRGBA(x, y, color.NRGBA{R: byte(40 + 8*x), G: byte(200 - 9*y), B: byte(60 + 3*x + 4*y), A: 255})
		}
	}
	return p
}

// pngText finds the metadata of a PNG file, and the kind of the chunk it is in.
func pngText(t *testing.T, file []byte) (kind, text string) {
	t.Helper()
	for at := 8; at < len(file); {
		length := int(binary.BigEndian.Uint32(file[at:]))
		body := file[at+4 : at+8+length]
		if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(file[at+8+length:]) {
			t.Errorf("chunk %s: wrong checksum", body[:4])
		}
		if k := string(body[:4]); k == "tEXt" || k == "iTXt" {
			kind, text = k, string(body[4:])
		}
		at += 12 + length
	}
	return kind, text
}

// jpegExif finds the Exif block of a JPEG file: the first segment, as Exif has it.
func jpegExif(t *testing.T, file []byte) []byte {
	t.Helper()
	if !bytes.HasPrefix(file, []byte("\xff\xd8\xff\xe1")) || string(file[6:12]) != "Exif\x00\x00" {
		t.Fatalf("the file begins with %x", file[:12])
	}
	return file[12 : 4+int(binary.BigEndian.Uint16(file[4:]))]
}

// webpExif finds the Exif block of a WebP file and checks what frames it.
func webpExif(t *testing.T, file []byte) []byte {
	t.Helper()
	if string(file[:4]) != "RIFF" || string(file[8:12]) != "WEBP" || int(binary.LittleEndian.Uint32(file[4:])) != len(file)-8 {
		t.Fatalf("the file of %d bytes begins with %x", len(file), file[:12])
	}
	var kinds []string
	var block []byte
	for at := 12; at < len(file); {
		length := int(binary.LittleEndian.Uint32(file[at+4:]))
		kinds = append(kinds, string(file[at:at+4]))
		block = file[at+8 : at+8+length]
		at += 8 + length + length%2
	}
	if !slices.Equal(kinds, []string{"VP8X", "VP8L", "EXIF"}) {
		t.Fatalf("the file has the chunks %q", kinds)
	}
	return block
}

// comment reads the UserComment out of an Exif block.
func comment(t *testing.T, block []byte) string {
	t.Helper()
	order := binary.BigEndian
	if string(block[:4]) != "MM\x00\x2a" {
		t.Fatalf("the block begins with %x", block[:4])
	}
	find := func(directory uint32, tag uint16) (count, value uint32) {
		for i := range uint32(order.Uint16(block[directory:])) {
			if entry := block[directory+2+12*i:]; order.Uint16(entry) == tag {
				return order.Uint32(entry[4:]), order.Uint32(entry[8:])
			}
		}
		t.Fatalf("directory %d has no tag %x", directory, tag)
		return 0, 0
	}
	_, directory := find(order.Uint32(block[4:]), tagExif)
	count, offset := find(directory, tagUserComment)
	value := block[offset : offset+count]
	text, ok := bytes.CutPrefix(value, []byte("UNICODE\x00"))
	if !ok {
		t.Fatalf("the comment begins with %q", value[:8])
	}
	units := make([]uint16, len(text)/2)
	for i := range units {
		units[i] = order.Uint16(text[2*i:])
	}
	return string(utf16.Decode(units))
}

func TestPNGHoldsTheParameters(t *testing.T) {
	for prompt, want := range map[string]struct{ kind, text string }{
		"a red apple": {"tEXt", "parameters\x00a red apple\nNeg"},
		"café":        {"tEXt", "parameters\x00caf\xe9\nNeg"},
		"りんご":         {"iTXt", "parameters\x00\x00\x00\x00\x00りんご\nNeg"},
		"a\x00b":      {"iTXt", "parameters\x00\x00\x00\x00\x00a\x00b\nNeg"},
	} {
		p := example
		p.Prompt = prompt
		file, err := Encode(PNG, picture(), p)
		if err != nil {
			t.Fatal(err)
		}
		kind, text := pngText(t, file)
		if kind != want.kind || !strings.HasPrefix(text, want.text) {
			t.Errorf("%q: %s %q, want %s %q…", prompt, kind, text, want.kind, want.text)
		}
	}
}

func TestJPEGAndWebPHoldTheParameters(t *testing.T) {
	for _, prompt := range []string{"a red apple", "café りんご 🍎", "", "odd"} {
		p := example
		p.Prompt = prompt
		for format, find := range map[Format]func(*testing.T, []byte) []byte{JPEG: jpegExif, WebP: webpExif} {
			file, err := Encode(format, picture(), p)
			if err != nil {
				t.Fatal(err)
			}
			if got := comment(t, find(t, file)); got != p.String() {
				t.Errorf("%s: got %q, want %q", format, got, p.String())
			}
		}
	}
}

// TestLongPromptsFitIntoJPEG has prompts as long as a job may have them, in characters that
// take the most room.
func TestLongPromptsFitIntoJPEG(t *testing.T) {
	p := example
	p.Prompt, p.NegativePrompt = strings.Repeat("🍎", 8192), "x"+strings.Repeat("🍏", 8192)
	file, err := Encode(JPEG, picture(), p)
	if err != nil {
		t.Fatal(err)
	}
	got := comment(t, jpegExif(t, file))
	want := strings.Repeat("🍎", 7499) + "…\nNegative prompt: x" + strings.Repeat("🍏", 7499) + "…\nSteps: 20, "
	if !strings.HasPrefix(got, want) {
		t.Errorf("of %d bytes: %.40q … %.40q", len(got), got, got[len(got)-40:])
	}
	if _, err := jpegDecoded(file); err != nil {
		t.Error(err)
	}
}

func jpegDecoded(file []byte) (image.Image, error) {
	decoded, _, err := image.Decode(bytes.NewReader(file))
	return decoded, err
}

// TestEncodeKeepsThePicture allows JPEG what it loses at quality 95.
func TestEncodeKeepsThePicture(t *testing.T) {
	for format, tolerance := range map[Format]int{PNG: 0, JPEG: 12, WebP: 0} {
		file, err := Encode(format, picture(), example)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Encode(format, picture(), example)
		if err != nil || !bytes.Equal(file, again) {
			t.Errorf("%s: the second encoding differs (%v)", format, err)
		}
		decoded, name, err := image.Decode(bytes.NewReader(file))
		if err != nil || !strings.EqualFold(name, string(format)) {
			t.Fatalf("%s reads as %q (%v)", format, name, err)
		}
		if got := farthest(picture(), decoded); got > tolerance {
			t.Errorf("%s: a pixel is off by %d, want at most %d", format, got, tolerance)
		}
	}
}

// farthest is the largest difference of a colour between opaque pictures of the same size.
func farthest(a *image.NRGBA, b image.Image) (most int) {
	for y := range a.Rect.Dy() {
		for x := range a.Rect.Dx() {
			p, q := a.NRGBAAt(x, y), color.NRGBAModel.Convert(b.At(x, y)).(color.NRGBA)
			for _, d := range []int{int(p.R) - int(q.R), int(p.G) - int(q.G), int(p.B) - int(q.B), int(p.A) - int(q.A)} {
				most = max(most, d, -d)
			}
		}
	}
	return most
}

func TestFormats(t *testing.T) {
	if _, err := Encode("GIF", picture(), example); err == nil || !strings.Contains(err.Error(), "must be one of PNG, JPEG, WebP") {
		t.Errorf("GIF: %v", err)
	}
	for extension, want := range map[string]Format{".png": PNG, ".PNG": PNG, ".jpg": JPEG, ".jpeg": JPEG, ".webp": WebP, ".gif": "", "": ""} {
		if got, ok := FormatOf(extension); got != want || ok != (want != "") {
			t.Errorf("%q is %q", extension, got)
		}
	}
	for format, want := range map[Format]string{PNG: ".png", JPEG: ".jpg", WebP: ".webp", "GIF": ""} {
		if got := format.Extension(); got != want {
			t.Errorf("%s files end in %q", format, got)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	p := image.NewNRGBA(image.Rect(0, 0, 512, 512))
	for i := range p.Pix {
		p.Pix[i] = byte(i ^ i>>9)
		if i%4 == 3 {
			p.Pix[i] = 255
		}
	}
	for _, format := range []Format{PNG, JPEG, WebP} {
		b.Run(string(format), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Encode(format, p, example); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
