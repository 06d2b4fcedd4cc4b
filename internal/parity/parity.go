// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package parity is how tests compare with what Python computed. They leave their figures
// behind as attributes, which `go test -json` prints and `make parity` makes tables of.
// That runs the tests whose names say Equal: TestPicturesEqualPython.
package parity

import (
	"encoding/json"
	"image"
	"math"
	"testing"
)

// Bounds within which the runtime equals Python.
const (
	// Relative is by how much numbers may differ, as a share of the largest one.
	Relative = 1e-4
	// FarPixels is the share of a picture's pixels that may differ by more than 1 of 255
	// in a colour.
	FarPixels = 0.001
)

// Keys of the attributes.
const (
	SubjectKey = "parity-subject"
	FigureKey  = "parity-figure"
)

// Subject is what figures are about.
type Subject struct {
	// Kind is what is compared, such as family or scheduler; there is a table for each.
	Kind string
	// Name is the row in that table.
	Name string
}

// Measure is what of a subject is compared; a column of the table.
type Measure string

// The measures. Where no share is named, the difference is one of numbers, relative to
// the largest number.
const (
	Conditioning Measure = "conditioning"
	Latents      Measure = "latents"
	Decoded      Measure = "decoded"
	Timesteps    Measure = "timesteps"
	Samples      Measure = "samples"
	// Pixels has the share of pixels with a colour further than 1 of 255 away.
	Pixels Measure = "pixels within 1/255"
	// Exact has the share of cases that are not equal to the last bit.
	Exact Measure = "equal"
)

// IsShare says that a difference is the share of what is not equal.
func (m Measure) IsShare() bool { return m == Pixels || m == Exact }

// Figure is how far something is from what Python computed.
type Figure struct {
	Measure Measure
	// Worst is the largest difference, and Bound the one that is allowed.
	Worst, Bound float64
	// Cases is how many were compared.
	Cases int
}

// About says what the figures of a test and of its subtests are about.
func About(t testing.TB, kind, name string) {
	t.Helper()
	attribute(t, SubjectKey, Subject{kind, name})
}

// Record leaves a figure behind and fails the test where it is past its bound. what says
// more of what was compared.
func Record(t testing.TB, what string, f Figure) {
	t.Helper()
	if !(f.Worst <= f.Bound) {
		t.Errorf("%s %s: differs by %.2g, and may by %.2g", f.Measure, what, f.Worst, f.Bound)
	}
	f.Worst = math.Min(f.Worst, math.MaxFloat64) // JSON has no infinity.
	attribute(t, FigureKey, f)
}

// Numbers compares numbers with those that Python computed. They may differ by bound, as
// a share of the largest number wanted.
func Numbers(t testing.TB, m Measure, what string, got, want []float32, bound float64) {
	t.Helper()
	Record(t, what, Figure{Measure: m, Worst: Distance(got, want), Bound: bound, Cases: 1})
}

// Distance is the largest difference of two numbers as a share of the largest one wanted:
// infinite where one is no number or where there are not as many, and 0 for none.
func Distance(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var largest, worst float64
	for i, w := range want {
		largest = math.Max(largest, math.Abs(float64(w)))
		worst = math.Max(worst, math.Abs(float64(got[i])-float64(w)))
	}
	switch {
	case worst == 0:
		return 0
	case math.IsNaN(worst / largest):
		return math.Inf(1)
	}
	return worst / largest
}

// Picture compares a picture with the one that Python drew.
func Picture(t testing.TB, what string, got, want image.Image) {
	t.Helper()
	if got.Bounds() != want.Bounds() {
		t.Fatalf("%s is %v, want %v", what, got.Bounds(), want.Bounds())
	}
	Record(t, what, Figure{Measure: Pixels, Worst: Far(got, want), Bound: FarPixels, Cases: 1})
}

// Far is the share of pixels with a colour that is further than 1 of 255 from that of the
// other picture: all where the pictures are not of one size.
func Far(got, want image.Image) float64 {
	bounds := got.Bounds()
	if bounds != want.Bounds() {
		return 1
	}
	far := 0
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			if colourDistance(got, want, x, y) > 1 {
				far++
			}
		}
	}
	return float64(far) / float64(bounds.Dx()*bounds.Dy())
}

// colourDistance is by how much of 255 the colours of a pixel differ at most.
func colourDistance(got, want image.Image, x, y int) int {
	r, g, b, a := got.At(x, y).RGBA()
	r2, g2, b2, a2 := want.At(x, y).RGBA()
	worst := 0
	for _, pair := range [][2]uint32{{r, r2}, {g, g2}, {b, b2}, {a, a2}} {
		d := int(pair[0]>>8) - int(pair[1]>>8)
		worst = max(worst, d, -d)
	}
	return worst
}

// attribute leaves a value behind.
func attribute(t testing.TB, key string, value any) {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	t.Attr(key, string(data))
}
