// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"strings"
	"testing"
)

// readNumpy reads the numbers of a float32 .npy file of format version 1.
func readNumpy(t *testing.T, file string) []float32 {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) < 10 || !bytes.HasPrefix(data, []byte("\x93NUMPY\x01")) {
		t.Fatalf("%s is no .npy file of version 1", file)
	}
	start := 10 + int(binary.LittleEndian.Uint16(data[8:]))
	if header := string(data[10:start]); !strings.Contains(header, "'<f4'") || !strings.Contains(header, "'fortran_order': False") {
		t.Fatalf("%s: header %s", file, header)
	}
	out := make([]float32, (len(data)-start)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[start+4*i:]))
	}
	return out
}
