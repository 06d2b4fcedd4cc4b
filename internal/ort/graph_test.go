// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"bytes"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
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
		// As the Python package onnx counts them.
		Parameters: 64796,
	}
	if !reflect.DeepEqual(graph, want) {
		t.Errorf("got %+v, want %+v", graph, want)
	}
}

// TestReadGraphLeavesOutInitializers covers IR version 3, where weights are inputs too,
// and weights in other files.
func TestReadGraphLeavesOutInitializers(t *testing.T) {
	weight := message(message(nil, tensorName, []byte("w")), tensorDims, []byte{3, 0x80, 1})
	for _, entry := range [][2]string{{"location", "weights.bin"}, {"offset", "4"}, {"length", "8"}} {
		weight = message(weight, tensorExternalData, message(message(nil, entryKey, []byte(entry[0])), entryValue, []byte(entry[1])))
	}
	graph := message(nil, graphInput, encodeValue(Value{"x", TypeFloat16, nil}))
	graph = message(graph, graphInput, encodeValue(Value{"w", TypeFloat32, []int64{2}}))
	graph = message(graph, graphInitializer, weight)
	got, err := ReadGraph(write(t, message(nil, modelGraph, graph)))
	if err != nil {
		t.Fatal(err)
	}
	want := Graph{Inputs: []Value{{"x", TypeFloat16, nil}}, External: []ExternalFile{{Name: "weights.bin", Size: 12}}, Parameters: 3 * 128}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// externalTensor makes a TensorProto of float32 numbers whose data are in another file.
func externalTensor(name, location string, shape ...uint64) []byte {
	var tensor []byte
	for _, d := range shape {
		tensor = varint(tensor, 1, d)
	}
	tensor = varint(message(tensor, tensorName, []byte(name)), tensorDataType, uint64(TypeFloat32))
	entry := message(message(nil, entryKey, []byte("location")), entryValue, []byte(location))
	return varint(message(tensor, tensorExternalData, entry), 14, 1)
}

// TestReadGraphFindsExternalDataEverywhere puts weights of other files wherever ONNX can
// hold a tensor.
func TestReadGraphFindsExternalDataEverywhere(t *testing.T) {
	attribute := func(field protowire.Number, data []byte) []byte {
		return message(nil, graphNode, message(nil, nodeAttribute, message(nil, field, data)))
	}
	weight := externalTensor("w", "weights.bin")
	inner := message(nil, graphInitializer, weight)
	nested := inner
	for range maxDepth {
		nested = attribute(attributeGraph, nested)
	}
	for name, file := range map[string][]byte{
		"initializer":        message(nil, modelGraph, inner),
		"sparse initializer": message(nil, modelGraph, message(nil, graphSparse, message(nil, sparseValues, weight))),
		"sparse indices":     message(nil, modelGraph, message(nil, graphSparse, message(nil, sparseIndices, weight))),
		"constant":           message(nil, modelGraph, attribute(attributeTensor, weight)),
		"constants":          message(nil, modelGraph, attribute(attributeTensors, weight)),
		"sparse constant":    message(nil, modelGraph, attribute(attributeSparseTensor, message(nil, sparseValues, weight))),
		"sparse constants":   message(nil, modelGraph, attribute(attributeSparseTensors, message(nil, sparseValues, weight))),
		"branch":             message(nil, modelGraph, attribute(attributeGraph, inner)),
		"branches":           message(nil, modelGraph, attribute(attributeGraphs, inner)),
		"constant in branch": message(nil, modelGraph, attribute(attributeGraph, attribute(attributeTensor, weight))),
		"deepest branch":     message(nil, modelGraph, nested),
		"function":           message(message(nil, modelGraph, nil), modelFunctions, message(nil, functionNode, message(nil, nodeAttribute, message(nil, attributeTensor, weight)))),
	} {
		graph, err := ReadGraph(write(t, file))
		if err != nil || !slices.Equal(graph.External, []ExternalFile{{Name: "weights.bin"}}) {
			t.Errorf("%s: %v (%v)", name, graph.External, err)
		}
	}
	if _, err := ReadGraph(write(t, message(nil, modelGraph, attribute(attributeGraph, nested)))); err == nil || !strings.Contains(err.Error(), "inside each other") {
		t.Errorf("one branch more: %v", err)
	}
}

// TestReadGraphChecksExternalData has places that no file has.
func TestReadGraphChecksExternalData(t *testing.T) {
	for want, entries := range map[string][][2]string{
		`"b"`:              {{"location", "a"}, {"location", "b"}},
		`offset`:           {{"location", "a"}, {"offset", "-1"}},
		`"1e3"`:            {{"location", "a"}, {"length", "1e3"}},
		`begins at byte 1`: {{"location", "a"}, {"offset", "1"}, {"length", "9223372036854775807"}},
	} {
		var weight []byte
		for _, entry := range entries {
			weight = message(weight, tensorExternalData, message(message(nil, entryKey, []byte(entry[0])), entryValue, []byte(entry[1])))
		}
		if graph, err := ReadGraph(write(t, message(nil, modelGraph, message(nil, graphInitializer, weight)))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v gives %v (%v), want an error with %s", entries, graph.External, err, want)
		}
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
