// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

// ElementType is the type of a tensor's elements.
type ElementType int32

// The element types that Run converts to and from, numbered as in ONNX's TensorProto.
const (
	TypeFloat32 ElementType = 1
	TypeInt32   ElementType = 6
	TypeInt64   ElementType = 7
	TypeBool    ElementType = 9
	TypeFloat16 ElementType = 10
	TypeFloat64 ElementType = 11
)

// Value describes one input or output of a graph.
type Value struct {
	Name string
	Type ElementType
	// Shape has -1 for a dimension that is not fixed; it is nil where even the rank
	// is not stated and empty for a scalar.
	Shape []int64
}

// Graph describes the inputs and outputs of a graph, in the file's order.
type Graph struct {
	Inputs  []Value
	Outputs []Value
}
