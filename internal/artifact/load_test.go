// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write puts a file into a folder, and the folders on the way.
func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func encoded(t *testing.T, format Format) []byte {
	t.Helper()
	file, err := Encode(format, picture(), example)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestLoadGoesByContent reads each format under a name that tells nothing.
func TestLoadGoesByContent(t *testing.T) {
	dir := t.TempDir()
	for _, format := range []Format{PNG, JPEG, WebP} {
		write(t, dir, "album/picture", encoded(t, format))
		got, err := Load(dir, "album/picture")
		if err != nil || got.Bounds() != picture().Rect {
			t.Errorf("%s: %v", format, err)
		}
	}
	if err := os.Symlink("album", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, "link/picture"); err != nil {
		t.Errorf("through a link that stays inside: %v", err)
	}
}

// TestLoadTurnsPicturesUpright compares with Pillow's exif_transpose.
func TestLoadTurnsPicturesUpright(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(goldens, "turned.json"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		File          string
		Width, Height int
		Blocks        [][3]uint8
	}
	if err := json.Unmarshal(data, &rows); err != nil || len(rows) != 8 {
		t.Fatal(len(rows), err)
	}
	for _, row := range rows {
		picture, err := Load(goldens, "turned/"+row.File)
		if err != nil {
			t.Fatal(err)
		}
		if got := picture.Bounds(); got != image.Rect(0, 0, row.Width, row.Height) {
			t.Errorf("%s: bounds %v, want %dx%d", row.File, got, row.Width, row.Height)
		}
		for i, want := range row.Blocks {
			across := row.Width / 8
			c := color.NRGBAModel.Convert(picture.At(8*(i%across)+4, 8*(i/across)+4)).(color.NRGBA)
			for k, got := range []uint8{c.R, c.G, c.B} {
				if d := int(got) - int(want[k]); d < -3 || d > 3 {
					t.Errorf("%s: block %d is %v, want %v", row.File, i, c, want)
				}
			}
		}
	}
}

// TestLoadReadsColoursAsPillowDoes compares lossy files. libjpeg's and libwebp's arithmetic of
// the luma is not the standard library's, and differs by 1 here and there.
func TestLoadReadsColoursAsPillowDoes(t *testing.T) {
	for _, name := range []string{"lossy/420.jpg", "lossy/422.jpg", "lossy/444.jpg", "lossy/lossy.webp", "lossy/alpha.webp"} {
		got, err := Load(goldens, name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Load(goldens, name+".png")
		if err != nil {
			t.Fatal(err)
		}
		if got.Bounds() != want.Bounds() {
			t.Fatalf("%s: bounds %v, want %v", name, got.Bounds(), want.Bounds())
		}
		sum, most, size := 0, 0, got.Bounds().Size()
		for y := range size.Y {
			for x := range size.X {
				r, g, b, _ := got.At(x, y).RGBA()
				r2, g2, b2, _ := want.At(x, y).RGBA()
				for _, d := range []int{int(r>>8) - int(r2>>8), int(g>>8) - int(g2>>8), int(b>>8) - int(b2>>8)} {
					sum, most = sum+max(d, -d), max(most, d, -d)
				}
			}
		}
		if mean := float64(sum) / float64(3*size.X*size.Y); mean > 0.1 || most > 3 {
			t.Errorf("%s: colours are off by up to %d, by %.3f in the mean", name, most, mean)
		}
	}
}

// FuzzDecode looks at a pixel in each corner of whatever can be decoded.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"turned/6.jpg", "lossy/420.jpg", "lossy/422.jpg", "lossy/lossy.webp", "latin.webp", "latin.png"} {
		file, err := os.ReadFile(filepath.Join(goldens, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x10Exif\x00\x00II*\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if config, _, err := image.DecodeConfig(bytes.NewReader(file)); err == nil && config.Width*config.Height > 1<<20 {
			t.Skip("slow")
		}
		picture, err := decode("a", file)
		if err != nil {
			return
		}
		b := picture.Bounds()
		for _, corner := range []image.Point{b.Min, {b.Max.X - 1, b.Min.Y}, {b.Min.X, b.Max.Y - 1}, {b.Max.X - 1, b.Max.Y - 1}} {
			picture.At(corner.X, corner.Y)
		}
		if orientation := orientationOf(exifOf(file)); orientation < 0 || orientation > 8 {
			t.Errorf("the orientation is %d", orientation)
		}
	})
}

// huge is a PNG file whose header promises a picture of a size.
func huge(width, height uint32) []byte {
	file := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR")
	file = binary.BigEndian.AppendUint32(file, width)
	file = binary.BigEndian.AppendUint32(file, height)
	file = append(file, 8, 2, 0, 0, 0)
	return binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(file[12:]))
}

// cut takes the end off a file.
func cut(file []byte) []byte { return file[:len(file)-40] }

// TestLoadRefuses names what a request can't be granted with.
func TestLoadRefuses(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "a.png", encoded(t, PNG))
	dir := t.TempDir()
	whole := encoded(t, PNG)
	write(t, dir, "text.png", []byte("not a picture"))
	write(t, dir, "empty.png", nil)
	write(t, dir, "cut.png", cut(whole))
	write(t, dir, "cut.jpg", cut(encoded(t, JPEG)))
	write(t, dir, "gif.png", []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"))
	write(t, dir, "wide.png", huge(4097, 4096))
	write(t, dir, "wider.png", huge(1<<20, 1<<20))
	write(t, dir, "heavy.png", append(bytes.Clone(whole), make([]byte, maxFileBytes)...))
	for link, to := range map[string]string{"out.png": filepath.Join(outside, "a.png"), "up": outside, "self": "self"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"text.png":               "must be a PNG, JPEG or WebP",
		"empty.png":              "must be a PNG, JPEG or WebP",
		"gif.png":                "must be a PNG, JPEG or WebP",
		"cut.png":                "must be a whole picture",
		"cut.jpg":                "must be a whole picture",
		"wide.png":               "has 4097x4096 pixels",
		"wider.png":              "has 1048576x1048576 pixels",
		"heavy.png":              "must have at most 67108864 bytes",
		"missing.png":            "is not there",
		"text.png/a.png":         "is not there",
		".":                      "must be a file",
		"../a.png":               "stays inside",
		"/etc/passwd":            "stays inside",
		"":                       "stays inside",
		"out.png":                "must lead to a file inside",
		"up/a.png":               "must lead to a file inside",
		"self":                   "must lead to a file inside",
		"a\x00b":                 "must lead to a file inside",
		strings.Repeat("a", 300): "must lead to a file inside",
	} {
		_, err := Load(dir, name)
		var refused *NotPictureError
		if !errors.As(err, &refused) || refused.Path != name || !strings.Contains(refused.Message, want) {
			t.Errorf("%.40q: got %v, want it to say %q", name, err, want)
		}
	}
}

// TestLoadTellsAMissingVolume, which may be there at the next attempt, from a missing file.
func TestLoadTellsAMissingVolume(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "nothing"), "a.png")
	var refused *NotPictureError
	if errors.As(err, &refused) || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "outputs directory") {
		t.Errorf("got %v", err)
	}
}
