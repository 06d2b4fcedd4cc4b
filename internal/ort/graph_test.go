// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
)

const tinyModel = "../../test/testdata/models/tiny/"

func TestReadGraphOfExportedModels(t *testing.T) {
	graph, err := ReadGraph(tinyModel + "unet/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	want := Graph{
		Inputs: []Value{
			{"sample", TypeFloat32, []int64{-1, 4, -1, -1}},
			{"timestep", TypeFloat32, []int64{}},
			{"encoder_hidden_states", TypeFloat32, []int64{-1, -1, 16}},
		},
		Outputs: []Value{{"out_sample", TypeFloat32, []int64{-1, 4, -1, -1}}},
	}
	if !reflect.DeepEqual(graph, want) {
		t.Errorf("got %+v, want %+v", graph, want)
	}
}

// TestReadGraphLeavesOutInitializers covers IR version 3, where weights are inputs too,
// and weights in other files.
func TestReadGraphLeavesOutInitializers(t *testing.T) {
	weight := message(nil, tensorName, []byte("w"))
	for _, entry := range [][2]string{{"location", "weights.bin"}, {"offset", "0"}} {
		weight = message(weight, tensorExternalData, message(message(nil, entryKey, []byte(entry[0])), entryValue, []byte(entry[1])))
	}
	graph := message(nil, graphInput, encodeValue(Value{"x", TypeFloat16, nil}))
	graph = message(graph, graphInput, encodeValue(Value{"w", TypeFloat32, []int64{2}}))
	graph = message(graph, graphInitializer, weight)
	got, err := ReadGraph(write(t, message(nil, modelGraph, graph)))
	if err != nil {
		t.Fatal(err)
	}
	want := Graph{Inputs: []Value{{"x", TypeFloat16, nil}}, External: []string{"weights.bin"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestReadGraphNoticesTruncation cuts a file at every length.
func TestReadGraphNoticesTruncation(t *testing.T) {
	data, err := os.ReadFile(tinyModel + "text_encoder/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := parseGraph(newProtoReader(bytes.NewReader(data)), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(data); n += 7 {
		got, err := parseGraph(newProtoReader(bytes.NewReader(data[:n])), int64(n))
		// What follows the graph, opset and metadata, can be cut off between fields.
		if err == nil && !reflect.DeepEqual(got, whole) {
			t.Fatalf("%d of %d bytes were taken for a whole file", n, len(data))
		}
		if err == nil && n < len(data)*9/10 {
			t.Fatalf("%d of %d bytes were taken for a whole file", n, len(data))
		}
	}
}

func TestReadGraphRefusesOtherFiles(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty":       nil,
		"text":        []byte("this is no model"),
		"zeros":       make([]byte, 100),
		"huge length": message(nil, modelGraph, nil)[:1],
		"LFS pointer": []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadGraph(write(t, data))
			if err == nil || !strings.Contains(err.Error(), "not an ONNX file") {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := ReadGraph(t.TempDir()); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("a directory: %v", err)
	}
}

func FuzzReadGraph(f *testing.F) {
	f.Add([]byte(identityModel))
	f.Add(encodeModel(Graph{Inputs: []Value{{"x", TypeInt64, []int64{-1, 3}}}, Outputs: []Value{{"y", TypeBool, nil}}}))
	f.Add([]byte("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		graph, err := parseGraph(newProtoReader(bytes.NewReader(data)), int64(len(data)))
		if err != nil {
			return
		}
		if n := len(graph.Inputs) + len(graph.Outputs) + len(graph.External); n > len(data) {
			t.Errorf("%d values out of %d bytes", n, len(data))
		}
	})
}
