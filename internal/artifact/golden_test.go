// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var writeSamples = flag.Bool("write-samples", false, "have TestOtherReaders write the files that hack/goldens/artifact.py reads")

const goldens = "../../test/testdata/goldens/artifact"

// samples are the parameters of the pictures that other readers were given.
func samples() map[string]Parameters {
	unicode := example
	unicode.Prompt, unicode.NegativePrompt = "りんご 🍎, café\nof (two:1.2) lines", "ぼやけた"
	return map[string]Parameters{"latin": example, "unicode": unicode}
}

// metadata is the part of a file that holds the parameters.
func metadata(t *testing.T, format Format, file []byte) []byte {
	t.Helper()
	switch format {
	case JPEG:
		return jpegExif(t, file)
	case WebP:
		return webpExif(t, file)
	}
	kind, text := pngText(t, file)
	return []byte(kind + text)
}

// reading is what Pillow and piexif found in a file.
type reading struct {
	File, Format, Mode, Parameters, RGBSHA256 string
	Width, Height                             int
}

// TestOtherReaders compares with what Pillow and piexif read in files that were encoded here.
// The pixels' encoding may change with the encoders; what is read of it may not.
func TestOtherReaders(t *testing.T) {
	if *writeSamples {
		writeAll(t)
		return
	}
	data, err := os.ReadFile(filepath.Join(goldens, "read.json"))
	if err != nil {
		t.Fatal(err)
	}
	var readings []reading
	if err := json.Unmarshal(data, &readings); err != nil {
		t.Fatal(err)
	}
	if want := len(samples()) * len(formats); len(readings) != want {
		t.Errorf("%d files were read, want %d", len(readings), want)
	}
	for _, r := range readings {
		t.Run(r.File, func(t *testing.T) { compare(t, r) })
	}
}

// compare holds what was read against what is encoded now.
func compare(t *testing.T, r reading) {
	extension := filepath.Ext(r.File)
	format, _ := FormatOf(extension)
	parameters := samples()[strings.TrimSuffix(r.File, extension)]
	file, err := os.ReadFile(filepath.Join(goldens, r.File))
	if err != nil {
		t.Fatal(err)
	}
	now, err := Encode(format, picture(), parameters)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(metadata(t, format, now), metadata(t, format, file)) {
		t.Error("the metadata is no longer what was read")
	}
	if r.Parameters != parameters.String() {
		t.Errorf("%q was read, want %q", r.Parameters, parameters.String())
	}
	if size := picture().Rect.Size(); r.Format != strings.ToUpper(string(format)) || r.Mode != "RGB" || r.Width != size.X || r.Height != size.Y {
		t.Errorf("it was read as %s, %s, %dx%d", r.Format, r.Mode, r.Width, r.Height)
	}
	if format != JPEG && r.RGBSHA256 != rgbSHA256() {
		t.Error("other pixels were read")
	}
}

// rgbSHA256 is that of the picture's colours, row by row.
func rgbSHA256() string {
	var rgb []byte
	for pix := picture().Pix; len(pix) > 0; pix = pix[4:] {
		rgb = append(rgb, pix[:3]...)
	}
	sum := sha256.Sum256(rgb)
	return hex.EncodeToString(sum[:])
}

// writeAll writes every sample in every format.
func writeAll(t *testing.T) {
	t.Helper()
	for name, parameters := range samples() {
		for _, f := range formats {
			file, err := Encode(f.name, picture(), parameters)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(goldens, name+f.name.Extension()), file, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
