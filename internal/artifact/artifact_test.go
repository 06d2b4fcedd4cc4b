// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var example = Parameters{
	Prompt: "a red apple", NegativePrompt: "blurry", Steps: 20, Scheduler: "EulerDiscreteScheduler",
	GuidanceScale: 7.5, Seed: 42, Width: 512, Height: 768, Model: "fluent-emoji",
}

func TestParametersAsTheWebUIWritesThem(t *testing.T) {
	quoted := example
	quoted.NegativePrompt, quoted.Scheduler, quoted.Model, quoted.GuidanceScale = "", "NewScheduler", `models: a, "b"`, 7
	for _, c := range []struct {
		parameters Parameters
		want       string
	}{
		{example, "a red apple\nNegative prompt: blurry\nSteps: 20, Sampler: Euler, CFG scale: 7.5, Seed: 42, Size: 512x768, Model: fluent-emoji"},
		{quoted, "a red apple\nSteps: 20, Sampler: NewScheduler, CFG scale: 7, Seed: 42, Size: 512x768, Model: " + `"models: a, \"b\""`},
	} {
		if got := c.parameters.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// textOf finds the metadata of a PNG file, and the kind of the chunk it is in.
func textOf(t *testing.T, file []byte) (kind, text string) {
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

func picture() *image.NRGBA {
	p := image.NewNRGBA(image.Rect(0, 0, 5, 3))
	for i := range p.Pix {
		p.Pix[i] = byte(i * 7)
	}
	for x := range 5 {
		for y := range 3 {
			c := p.NRGBAAt(x, y)
			p.SetNRGBA(x, y, color.NRGBA{R: c.R, G: c.G, B: c.B, A: 255})
		}
	}
	return p
}

func TestEncodePNG(t *testing.T) {
	for prompt, want := range map[string]struct{ kind, text string }{
		"a red apple": {"tEXt", "parameters\x00a red apple\nNeg"},
		"café":        {"tEXt", "parameters\x00caf\xe9\nNeg"},
		"りんご":         {"iTXt", "parameters\x00\x00\x00\x00\x00りんご\nNeg"},
		"a\x00b":      {"iTXt", "parameters\x00\x00\x00\x00\x00a\x00b\nNeg"},
	} {
		p := example
		p.Prompt = prompt
		file, err := EncodePNG(picture(), p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := EncodePNG(picture(), p)
		if err != nil || !bytes.Equal(file, again) {
			t.Errorf("%q: the second encoding differs (%v)", prompt, err)
		}
		kind, text := textOf(t, file)
		if kind != want.kind || !strings.HasPrefix(text, want.text) {
			t.Errorf("%q: %s %q, want %s %q…", prompt, kind, text, want.kind, want.text)
		}
		decoded, err := png.Decode(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		for x := range 5 {
			for y := range 3 {
				if got, want := color.NRGBAModel.Convert(decoded.At(x, y)), picture().NRGBAAt(x, y); got != want {
					t.Fatalf("pixel %d,%d is %v, want %v", x, y, got, want)
				}
			}
		}
	}
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	for _, data := range []string{"first", "second", "second"} {
		file, err := Save(dir, "album/cats/0.png", []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(data))
		if want := (File{"album/cats/0.png", hex.EncodeToString(sum[:]), int64(len(data))}); file != want {
			t.Errorf("got %+v, want %+v", file, want)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "album", "cats", "0.png")); err != nil || string(got) != data {
			t.Errorf("the file holds %q (%v), want %q", got, err, data)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "album", "cats"))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v), want one file", entries, err)
	}
}

// TestSaveStaysInside tries to write elsewhere.
func TestSaveStaysInside(t *testing.T) {
	outside := t.TempDir()
	dir := filepath.Join(t.TempDir(), "outputs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(outside, "target")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"folder": outside, "up": "..", "file.png": target} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"../0.png", "a/../../0.png", "folder/0.png", "up/0.png", "/0.png", filepath.Join(outside, "0.png"), "", "."} {
		if file, err := Save(dir, name, []byte("x")); err == nil {
			t.Errorf("%q was saved as %+v", name, file)
		}
	}
	// A link in the place of the file is replaced, not followed.
	if _, err := Save(dir, "file.png", []byte("x")); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "precious" {
		t.Errorf("the file outside holds %q (%v)", got, err)
	}
	for _, folder := range []string{outside, filepath.Dir(dir)} {
		if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
			t.Errorf("%s holds %v (%v)", folder, entries, err)
		}
	}
}

func TestSaveSaysWhatIsMissing(t *testing.T) {
	_, err := Save(filepath.Join(t.TempDir(), "nothing"), "0.png", nil)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "outputs directory") {
		t.Errorf("got %v", err)
	}
}

// TestSaveAtOnce lets writers of different lengths race; the file must be one of theirs.
func TestSaveAtOnce(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	for k := range 8 {
		group.Go(func() {
			for range 10 {
				if _, err := Save(dir, "a/0.png", bytes.Repeat([]byte{byte('0' + k)}, 1000*(k+1))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	data, err := os.ReadFile(filepath.Join(dir, "a", "0.png"))
	if err != nil {
		t.Fatal(err)
	}
	k := int(data[0] - '0')
	if want := bytes.Repeat(data[:1], 1000*(k+1)); !bytes.Equal(data, want) {
		t.Error("the file mixes two writers")
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "a")); len(entries) != 1 {
		t.Errorf("%v are left", entries)
	}
}

func BenchmarkEncodePNG(b *testing.B) {
	p := image.NewNRGBA(image.Rect(0, 0, 512, 512))
	for i := range p.Pix {
		p.Pix[i] = byte(i ^ i>>9)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodePNG(p, example); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleParameters_String() {
	fmt.Println(Parameters{Prompt: "a cat", Steps: 4, Scheduler: "EulerDiscreteScheduler", GuidanceScale: 1, Seed: 7, Width: 64, Height: 64, Model: "tiny"})
	// Output:
	// a cat
	// Steps: 4, Sampler: Euler, CFG scale: 1, Seed: 7, Size: 64x64, Model: tiny
}
