// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/atelier-dev/atelier/internal/memory"
	"github.com/atelier-dev/atelier/internal/ort"
)

// deviceRuntime is a runtime on another device.
type deviceRuntime struct {
	*fakeRuntime
	device ort.Device
}

func (r deviceRuntime) ChooseDevice() (ort.Device, error) { return r.device, nil }

func TestModelThatCannotFitIsRefused(t *testing.T) {
	model := testModel(t, tiny)
	var weights int64
	for _, part := range []string{"text_encoder", "unet", "vae_decoder"} { // Not the encoder.
		info, err := os.Stat(filepath.Join(model.Dir, part, "model.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		weights += info.Size()
	}
	for _, c := range []struct {
		name    string
		limit   int64
		device  ort.DeviceType
		refused bool
	}{
		{"a byte too little", weights - 1, ort.CPU, true},
		{"just enough for the weights", weights, ort.CPU, false},
		{"nobody knows", 0, ort.CPU, false},
		{"the GPU has the weights", 1, ort.CUDA, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			runtime := deviceRuntime{&fakeRuntime{}, ort.Device{Type: c.device}}
			p := New(runtime)
			p.memory = func() memory.Limit { return memory.Limit{Bytes: c.limit, Source: "the limit of the test"} }
			err := p.Load(t.Context(), model)
			var large *TooLargeError
			if errors.As(err, &large) != c.refused || !c.refused && err != nil {
				t.Fatalf("got %v", err)
			}
			if !c.refused {
				return
			}
			for _, part := range []string{tiny, fmt.Sprint(weights), fmt.Sprint(c.limit), "the limit of the test"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if len(runtime.log) > 0 || !p.IsHealthy() {
				t.Errorf("it did %v, and health is %+v", runtime.log, p.Health())
			}
		})
	}
}

// TestModelLargerThanThisMachineIsRefused has a file with holes hold twice the weights that
// this machine, or the group that the test is in, has memory for. Nothing is faked.
func TestModelLargerThanThisMachineIsRefused(t *testing.T) {
	limit := systemMemory()
	if limit.Bytes == 0 {
		t.Skip("the system does not tell how much memory there is")
	}
	size := 2 * limit.Bytes
	model := copyModel(t)
	file, err := os.Create(filepath.Join(model.Dir, "unet", "holes.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Truncate(size), file.Close()); err != nil {
		t.Skip("the file system has no such large files: ", err)
	}
	// A second graph in a file is merged with the first: one weight more.
	weight := field(8, []byte("holes"))
	for _, entry := range [][2]string{{"location", "holes.bin"}, {"length", fmt.Sprint(size)}} {
		weight = append(weight, field(13, append(field(1, []byte(entry[0])), field(2, []byte(entry[1]))...))...)
	}
	graph := filepath.Join(model.Dir, "unet", "model.onnx")
	data, err := os.ReadFile(graph)
	if err != nil {
		t.Fatal(err)
	}
	initializer := protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), weight)
	put(t, graph, protowire.AppendBytes(protowire.AppendTag(data, 7, protowire.BytesType), initializer))

	p := newPipeline(t)
	err = p.Load(t.Context(), model)
	var large *TooLargeError
	if !errors.As(err, &large) || large.Need < size || large.Limit != limit {
		t.Fatalf("got %v", err)
	}
	if err := p.Load(t.Context(), testModel(t, tiny)); err != nil {
		t.Errorf("the next model: %v", err)
	}
}
