// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package parity

import (
	"encoding/json"
	"image"
	"image/color"
	"math"
	"testing"
)

func TestDistance(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, c := range map[string]struct {
		got, want []float32
		distance  float64
	}{
		"equal":                   {[]float32{1, -2}, []float32{1, -2}, 0},
		"of the largest wanted":   {[]float32{1, -2}, []float32{1, -4}, 0.5},
		"nothing":                 {nil, nil, 0},
		"zeros":                   {[]float32{0}, []float32{0}, 0},
		"another number of them":  {[]float32{1}, []float32{1, 1}, math.Inf(1)},
		"no number":               {[]float32{nan, 1}, []float32{1, 1}, math.Inf(1)},
		"no number after another": {[]float32{2, nan, 2}, []float32{1, 1, 1}, math.Inf(1)},
		"no number wanted":        {[]float32{1}, []float32{nan}, math.Inf(1)},
		"infinity":                {[]float32{inf}, []float32{1}, math.Inf(1)},
		"wanted zeros":            {[]float32{1}, []float32{0}, math.Inf(1)},
	} {
		if d := Distance(c.got, c.want); d != c.distance {
			t.Errorf("%s: %v, want %v", name, d, c.distance)
		}
	}
}

// recorder is a test that keeps what is left behind.
type recorder struct {
	testing.TB
	figures []Figure
	failed  bool
}

func (*recorder) Helper()                 {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Attr(_, value string) {
	var f Figure
	if err := json.Unmarshal([]byte(value), &f); err != nil {
		r.Error(err)
	}
	r.figures = append(r.figures, f)
}

// TestPicturesMayHaveFewFarPixels compares 40x50 pixels of which some are changed.
func TestPicturesMayHaveFewFarPixels(t *testing.T) {
	for _, c := range []struct {
		pixels int
		by     uint8
		fails  bool
		worst  float64
	}{{0, 9, false, 0}, {2000, 1, false, 0}, {2, 2, false, 0.001}, {3, 2, true, 0.0015}} {
		got, want := image.NewNRGBA(image.Rect(0, 0, 40, 50)), image.NewNRGBA(image.Rect(0, 0, 40, 50))
		for i := range 2000 {
			want.SetNRGBA(i%40, i/40, color.NRGBA{100, 100, 100, 255})
			v := color.NRGBA{100, 100, 100, 255}
			if i < c.pixels {
				v.G += c.by
			}
			got.SetNRGBA(i%40, i/40, v)
		}
		r := &recorder{TB: t}
		Picture(r, "", got, want)
		if r.failed != c.fails || len(r.figures) != 1 || r.figures[0].Worst != c.worst {
			t.Errorf("%d pixels changed by %d: %v, failed %v", c.pixels, c.by, r.figures, r.failed)
		}
	}
}

// TestInfiniteDifferencesAreRecorded though JSON has no infinities.
func TestInfiniteDifferencesAreRecorded(t *testing.T) {
	r := &recorder{TB: t}
	Numbers(r, Latents, "", []float32{1}, nil, 1)
	if !r.failed || len(r.figures) != 1 || r.figures[0].Worst != math.MaxFloat64 {
		t.Errorf("%v, failed %v", r.figures, r.failed)
	}
}
