// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// raw are the bytes of float32 values.
func raw(values ...float32) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// tensorProto makes a TensorProto of fields that follow type and name.
func tensorProto(name string, kind ElementType, rest []byte) []byte {
	return append(message(varint(nil, tensorDataType, uint64(kind)), tensorName, []byte(name)), rest...)
}

// graphProto makes a file of nodes and weights.
func graphProto(nodes []node, weights ...[]byte) []byte {
	var graph []byte
	for _, n := range nodes {
		b := message(message(nil, nodeInput, []byte(n.inputs[0])), nodeOutput, []byte(n.outputs[0]))
		graph = message(graph, graphNode, message(b, nodeOp, []byte(n.op)))
	}
	for _, w := range weights {
		graph = message(graph, graphInitializer, w)
	}
	return message(nil, modelGraph, graph)
}

func TestReadWeight(t *testing.T) {
	const name = "text_model.norm.weight"
	inline := message(nil, tensorRawData, raw(1, 2.5))
	half := message(nil, tensorRawData, []byte{0x00, 0x3c, 0x00, 0xc0}) // 1 and -2.
	var external []byte
	for _, entry := range [][2]string{{"location", "weights.bin"}, {"offset", "4"}, {"length", "8"}} {
		external = message(external, tensorExternalData, message(message(nil, entryKey, []byte(entry[0])), entryValue, []byte(entry[1])))
	}
	for title, c := range map[string]struct {
		file []byte
		want []float32
	}{
		"inline":          {graphProto(nil, tensorProto(name, TypeFloat32, inline)), []float32{1, 2.5}},
		"list of floats":  {graphProto(nil, tensorProto(name, TypeFloat32, message(nil, tensorFloatData, raw(3)))), []float32{3}},
		"whole name":      {graphProto(nil, tensorProto("norm.weight", TypeFloat32, inline)), []float32{1, 2.5}},
		"float16":         {graphProto(nil, tensorProto(name, TypeFloat16, half)), []float32{1, -2}},
		"cast":            {graphProto([]node{{"Cast", []string{"short"}, []string{name}}}, tensorProto("short", TypeFloat16, half)), []float32{1, -2}},
		"shared":          {graphProto([]node{{"Identity", []string{"other"}, []string{name}}}, tensorProto("other", TypeFloat32, inline)), []float32{1, 2.5}},
		"another file":    {graphProto(nil, tensorProto(name, TypeFloat32, external)), []float32{2, 3}},
		"part of a word":  {graphProto(nil, tensorProto("text_model.layernorm.weight", TypeFloat32, inline)), nil},
		"two":             {graphProto(nil, tensorProto(name, TypeFloat32, inline), tensorProto("norm.weight", TypeFloat32, inline)), nil},
		"a circle":        {graphProto([]node{{"Identity", []string{"a"}, []string{name}}, {"Identity", []string{name}, []string{"a"}}}), nil},
		"whole numbers":   {graphProto(nil, tensorProto(name, TypeInt64, inline)), nil},
		"no weights":      {graphProto(nil), nil},
		"too large a one": {graphProto(nil, tensorProto(name, TypeFloat32, message(nil, tensorRawData, make([]byte, maxWeight+4)))), nil},
	} {
		t.Run(title, func(t *testing.T) {
			path := write(t, c.file)
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), "weights.bin"), raw(1, 2, 3), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := ReadWeight(path, "norm.weight")
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v (%v), want %v", got, err, c.want)
			}
		})
	}
	if _, err := ReadWeight(write(t, graphProto(nil, tensorProto(name, TypeFloat32, external))), "norm.weight"); err == nil {
		t.Error("a missing file is no error")
	}
	if got, err := ReadWeight(tinyModel+"text_encoder/model.onnx", "final_layer_norm.weight"); err != nil || len(got) != 16 {
		t.Errorf("the tiny model has %v (%v)", got, err)
	}
}

// FuzzGraphFile reads graph and weight of any file. Neither may give more than the file
// can hold, nor read outside of what is bounded.
func FuzzGraphFile(f *testing.F) {
	inline := message(nil, tensorRawData, raw(1, 2.5))
	f.Add([]byte(identityModel))
	f.Add(encodeModel(Graph{Inputs: []Value{{"x", TypeInt64, []int64{-1, 3}}}, Outputs: []Value{{"y", TypeBool, nil}}}))
	f.Add([]byte("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Add(graphProto(nil, tensorProto("norm.weight", TypeFloat32, inline)))
	f.Add(graphProto([]node{{"Cast", []string{"a"}, []string{"norm.weight"}}}, tensorProto("a", TypeFloat16, inline)))
	f.Add(graphProto([]node{{"Identity", []string{"norm.weight"}, []string{"norm.weight"}}}))
	f.Add(graphProto(nil, externalTensor("norm.weight", "weights.bin", 2)))
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "weights.bin"), raw(1, 2, 3), 0o600); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, "model.onnx")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		graph, err := ReadGraph(path)
		if n := len(graph.Inputs) + len(graph.Outputs) + len(graph.External); err == nil && n > len(data) {
			t.Errorf("%d values out of %d bytes", n, len(data))
		}
		if err != nil || slices.ContainsFunc(graph.External, func(e ExternalFile) bool { return e.Name != "weights.bin" }) {
			return // Nobody reads weights of such a file.
		}
		if values, err := ReadWeight(path, "norm.weight"); err == nil && 2*len(values) > maxWeight {
			t.Errorf("%d values", len(values))
		}
	})
}
