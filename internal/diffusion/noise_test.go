// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/atelier-dev/atelier/internal/parity"
)

// TestNoiseEqualsTorch compares every bit with what hack/goldens/noise.py wrote.
func TestNoiseEqualsTorch(t *testing.T) {
	data, err := os.ReadFile("../../test/testdata/goldens/noise.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Seed   int64
		Sizes  []int
		First  []float32
		SHA256 string
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) < 70 {
		t.Fatalf("only %d rows", len(rows))
	}
	wrong := 0
	for _, row := range rows {
		g := newCPUNoise(row.Seed)
		var all []float32
		for _, n := range row.Sizes {
			draw := make([]float32, n)
			g.Normal(draw)
			all = append(all, draw...)
		}
		hash := sha256.New()
		for _, v := range all {
			_ = binary.Write(hash, binary.LittleEndian, v)
		}
		if got := hex.EncodeToString(hash.Sum(nil)); got != row.SHA256 {
			wrong++
			t.Errorf("seed %d, sizes %v: begins with %v, want %v", row.Seed, row.Sizes, all[:len(row.First)], row.First)
		}
	}
	parity.About(t, "noise", "torch, CPU")
	parity.Record(t, "of all rows", parity.Figure{Measure: parity.Exact, Worst: float64(wrong) / float64(len(rows)), Cases: len(rows)})
}

// TestNoiseIsNearTorchWithoutVectors bounds how far torch's numbers on processors
// without AVX2 are from these, which are those with it.
func TestNoiseIsNearTorchWithoutVectors(t *testing.T) {
	data, err := os.ReadFile("../../test/testdata/goldens/noise-plain.json")
	if err != nil {
		t.Fatal(err)
	}
	var plain struct {
		Seed int64
		// Differing is the share of Size numbers that differ, and Most by how much.
		Size            int
		Differing, Most float64
		// Numbers of a smaller draw.
		Numbers []float32
	}
	if err := json.Unmarshal(data, &plain); err != nil {
		t.Fatal(err)
	}
	if plain.Size < 1<<20 || plain.Differing == 0 || plain.Most > 2.5e-6 || len(plain.Numbers) < 1000 {
		t.Errorf("of %d numbers %g differ, by up to %g; %d are kept", plain.Size, plain.Differing, plain.Most, len(plain.Numbers))
	}
	got := make([]float32, len(plain.Numbers))
	newCPUNoise(plain.Seed).Normal(got)
	for i, w := range plain.Numbers {
		if d := math.Abs(float64(got[i]) - float64(w)); !(d <= plain.Most) {
			t.Errorf("number %d is %v, and without vectors %v", i, got[i], w)
		}
	}
}

// TestVectorMathIsAccurate bounds the distance from the exact functions.
func TestVectorMathIsAccurate(t *testing.T) {
	for i := range 1 << 16 {
		u := float32(i+1) / (1 << 16)
		if got, want := float64(vectorLog(u)), math.Log(float64(u)); math.Abs(got-want) > 1e-6*math.Abs(want) {
			t.Fatalf("log(%v) = %v, want %v", u, got, want)
		}
		x := 2 * math.Pi * u
		sin, cos := vectorSincos(x)
		if math.Abs(float64(sin)-math.Sin(float64(x))) > 3e-7 || math.Abs(float64(cos)-math.Cos(float64(x))) > 3e-7 {
			t.Fatalf("sine and cosine of %v are %v and %v", x, sin, cos)
		}
	}
}

// TestNoiseIsStandardNormal looks at the distribution, whatever the bits.
func TestNoiseIsStandardNormal(t *testing.T) {
	for _, device := range []GeneratorDevice{GeneratorCPU, GeneratorCUDA} {
		checkStandardNormal(t, device)
	}
}

func checkStandardNormal(t *testing.T, device GeneratorDevice) {
	t.Helper()
	noise, err := NewGenerator(device, 9)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, 1<<20)
	noise.Normal(values)
	var mean, square float64
	for _, v := range values {
		mean += float64(v)
		square += float64(v) * float64(v)
	}
	n := float64(len(values))
	if mean /= n; math.Abs(mean) > 0.005 {
		t.Errorf("%s: mean %v", device, mean)
	}
	if square /= n; math.Abs(square-1) > 0.01 {
		t.Errorf("%s: variance %v", device, square)
	}
}

func TestNewGeneratorRefusesOtherDevices(t *testing.T) {
	if _, err := NewGenerator("MPS", 1); err == nil || !strings.Contains(err.Error(), `"MPS"`) || !strings.Contains(err.Error(), "CPU and CUDA") {
		t.Errorf("error %v", err)
	}
	noise, err := NewGenerator("", 1)
	if _, ok := noise.(*cpuNoise); !ok || err != nil {
		t.Errorf("no device gives %T, %v", noise, err)
	}
}

func BenchmarkNoise(b *testing.B) {
	latents := make([]float32, 4*64*64)
	for _, device := range []GeneratorDevice{GeneratorCPU, GeneratorCUDA} {
		b.Run(string(device), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				noise, _ := NewGenerator(device, 1)
				noise.Normal(latents)
			}
		})
	}
}
