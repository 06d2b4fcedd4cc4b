// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// node is an operation of a graph that a test makes.
type node struct {
	op              string
	inputs, outputs []string
}

// message appends a field that is a message or a string.
func message(b []byte, field protowire.Number, data []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), data)
}

// varint appends a field that is a number.
func varint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

// encodeValue makes a ValueInfoProto; -1 is a dimension that is only named.
func encodeValue(v Value) []byte {
	var shape []byte
	for _, d := range v.Shape {
		if d < 0 {
			shape = message(shape, shapeDim, message(nil, 2, []byte("n")))
			continue
		}
		shape = message(shape, shapeDim, varint(nil, dimValue, uint64(d)))
	}
	tensor := varint(nil, tensorElemType, uint64(v.Type))
	if v.Shape != nil {
		tensor = message(tensor, tensorTypeShape, shape)
	}
	return message(message(nil, valueName, []byte(v.Name)), valueType, message(nil, typeTensor, tensor))
}

// encodeModel makes an ONNX file without weights: IR version 7, opset 13.
func encodeModel(g Graph, nodes ...node) []byte {
	var graph []byte
	for _, n := range nodes {
		var b []byte
		for _, name := range n.inputs {
			b = message(b, 1, []byte(name))
		}
		for _, name := range n.outputs {
			b = message(b, 2, []byte(name))
		}
		graph = message(graph, 1, message(b, 4, []byte(n.op)))
	}
	graph = message(graph, 2, []byte("test"))
	for _, v := range g.Inputs {
		graph = message(graph, graphInput, encodeValue(v))
	}
	for _, v := range g.Outputs {
		graph = message(graph, graphOutput, encodeValue(v))
	}
	model := varint(nil, 1, 7)
	model = message(model, modelGraph, graph)
	return message(model, 8, varint(message(nil, 1, nil), 2, 13))
}

// write puts a file into a folder that the test throws away.
func write(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
