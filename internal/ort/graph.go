// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
)

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

// String names the type as ONNX does.
func (t ElementType) String() string {
	switch t {
	case TypeFloat32:
		return "float32"
	case TypeInt32:
		return "int32"
	case TypeInt64:
		return "int64"
	case TypeBool:
		return "bool"
	case TypeFloat16:
		return "float16"
	case TypeFloat64:
		return "float64"
	}
	return "ONNX type " + strconv.Itoa(int(t))
}

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
	// External are the other files that hold weights of it or of graphs and functions
	// inside it.
	External []ExternalFile
	// Parameters is the number of weights in the initializers.
	Parameters int64
}

// ExternalFile is a file beside a graph's that holds weights.
type ExternalFile struct {
	// Name is relative to the folder of the graph's file, as that one says it.
	Name string
	// Size in bytes that the file must have at least, as far as is stated.
	Size int64
}

// Input finds an input by name.
func (g Graph) Input(name string) (Value, bool) { return find(g.Inputs, name) }

// Output finds an output by name.
func (g Graph) Output(name string) (Value, bool) { return find(g.Outputs, name) }

func find(values []Value, name string) (Value, bool) {
	i := slices.IndexFunc(values, func(v Value) bool { return v.Name == name })
	if i < 0 {
		return Value{}, false
	}
	return values[i], true
}

// ReadGraph reads what a graph takes and gives from its file. It needs neither ONNX
// Runtime nor memory for the weights, over which it seeks, and it notices a file that
// was cut short: ONNX Runtime itself can only tell after building a whole session.
func ReadGraph(path string) (Graph, error) {
	f, err := os.Open(path)
	if err != nil {
		return Graph{}, err
	}
	defer func() { _ = f.Close() }() // Only read from.
	info, err := f.Stat()
	if err != nil {
		return Graph{}, err
	}
	if info.IsDir() {
		return Graph{}, fmt.Errorf("is a directory, not an ONNX file")
	}
	return parseGraph(newProtoReader(f), info.Size())
}

// Field numbers in onnx.proto.
const (
	modelGraph     = 7
	modelFunctions = 25

	graphNode        = 1
	graphInitializer = 5
	graphInput       = 11
	graphOutput      = 12
	graphSparse      = 15

	functionNode = 7

	nodeAttribute = 5

	attributeTensor        = 5
	attributeGraph         = 6
	attributeTensors       = 10
	attributeGraphs        = 11
	attributeSparseTensor  = 22
	attributeSparseTensors = 23

	sparseValues  = 1
	sparseIndices = 2

	tensorDims         = 1
	tensorName         = 8
	tensorExternalData = 13

	entryKey   = 1
	entryValue = 2

	valueName = 1
	valueType = 2

	typeTensor      = 1
	tensorElemType  = 1
	tensorTypeShape = 2
	shapeDim        = 1
	dimValue        = 1
)

// maxValues bounds the inputs, outputs and external files of a graph: the largest
// models have a few hundred.
const maxValues = 100_000

// maxDepth bounds graphs inside graphs, as of branches and loops.
const maxDepth = 32

// graphParser gathers a graph while the file is walked.
type graphParser struct {
	r            *protoReader
	graph        Graph
	found        bool
	initializers map[string]bool
	// external has the places of files in graph.External.
	external map[string]int
	// elements are those of the tensor that was walked last.
	elements int64
	// depth is how many graphs the graph that is walked is inside of.
	depth int
}

// parseGraph walks a ModelProto of the given size.
func parseGraph(r *protoReader, size int64) (Graph, error) {
	p := &graphParser{r: r, initializers: map[string]bool{}, external: map[string]int{}}
	err := r.message(size, func(field, end int64) error {
		switch field {
		case modelGraph:
			p.found = true
			return r.message(end, p.graphField)
		case modelFunctions:
			return r.message(end, p.functionField)
		}
		return nil
	})
	switch {
	case err != nil:
		return Graph{}, fmt.Errorf("not an ONNX file, or one that was cut short or damaged: %w", err)
	case !p.found:
		return Graph{}, fmt.Errorf("not an ONNX file, or one that was cut short: there is no graph in it")
	}
	// Until IR version 3 every initializer was an input as well.
	p.graph.Inputs = slices.DeleteFunc(p.graph.Inputs, func(v Value) bool { return p.initializers[v.Name] })
	return p.graph, nil
}

// graphField takes one field of the model's GraphProto.
func (p *graphParser) graphField(field, end int64) error {
	switch field {
	case graphInput:
		return p.value(end, &p.graph.Inputs)
	case graphOutput:
		return p.value(end, &p.graph.Outputs)
	case graphInitializer:
		name, err := p.initializer(end)
		p.initializers[name] = true
		return err
	}
	return p.innerField(field, end)
}

// innerField takes what can refer to other files in one field of a GraphProto: weights,
// and those that nodes hold.
func (p *graphParser) innerField(field, end int64) error {
	switch field {
	case graphNode:
		return p.node(end)
	case graphInitializer:
		_, err := p.initializer(end)
		return err
	case graphSparse:
		return p.sparse(end)
	}
	return nil
}

// functionField takes one field of a FunctionProto.
func (p *graphParser) functionField(field, end int64) error {
	if field != functionNode {
		return nil
	}
	return p.node(end)
}

// node takes the attributes of a NodeProto.
func (p *graphParser) node(end int64) error {
	return p.r.message(end, func(field, end int64) error {
		if field != nodeAttribute {
			return nil
		}
		return p.r.message(end, p.attributeField)
	})
}

// attributeField takes the tensors and graphs of an AttributeProto.
func (p *graphParser) attributeField(field, end int64) error {
	switch field {
	case attributeTensor, attributeTensors:
		_, err := p.tensor(end)
		return err
	case attributeSparseTensor, attributeSparseTensors:
		return p.sparse(end)
	case attributeGraph, attributeGraphs:
		if p.depth == maxDepth {
			return fmt.Errorf("more than %d graphs inside each other", maxDepth)
		}
		p.depth++
		defer func() { p.depth-- }()
		return p.r.message(end, p.innerField)
	}
	return nil
}

// sparse takes the tensors of a SparseTensorProto.
func (p *graphParser) sparse(end int64) error {
	return p.r.message(end, func(field, end int64) error {
		if field != sparseValues && field != sparseIndices {
			return nil
		}
		_, err := p.tensor(end)
		return err
	})
}

// initializer takes a TensorProto whose elements count as parameters.
func (p *graphParser) initializer(end int64) (name string, err error) {
	name, err = p.tensor(end)
	if p.elements > 0 && p.elements <= math.MaxInt64-p.graph.Parameters {
		p.graph.Parameters += p.elements
	}
	return name, err
}

// tensor takes the name, the number of elements and the external file of a TensorProto.
func (p *graphParser) tensor(end int64) (name string, err error) {
	p.elements = 1
	var data externalData
	err = p.r.message(end, func(field, end int64) (err error) {
		switch field {
		case tensorDims:
			err = p.dims(end)
		case tensorName:
			name, err = p.r.text(end)
		case tensorExternalData:
			err = data.read(p.r, end)
		}
		return err
	})
	if err == nil && data.file != "" {
		err = p.note(data)
	}
	return name, err
}

// dims multiplies the elements by dimensions of a tensor: a varint, or packed ones. What
// is no size, or too much for any file, makes them 0.
func (p *graphParser) dims(end int64) error {
	if p.r.offset == end {
		p.multiply(p.r.number)
		return nil
	}
	for p.r.offset < end {
		dim, err := p.r.varint()
		if err != nil {
			return err
		}
		p.multiply(dim)
	}
	return nil
}

func (p *graphParser) multiply(dim uint64) {
	if dim == 0 || dim > 1<<48 || uint64(p.elements) > 1<<48/dim {
		p.elements = 0
		return
	}
	p.elements *= int64(dim)
}

// note keeps the file that a tensor is in, and how far it reaches.
func (p *graphParser) note(data externalData) error {
	size, err := data.end()
	if err != nil {
		return err
	}
	i, ok := p.external[data.file]
	if !ok {
		i = len(p.graph.External)
		p.external[data.file] = i
		p.graph.External = append(p.graph.External, ExternalFile{Name: data.file})
	}
	p.graph.External[i].Size = max(p.graph.External[i].Size, size)
	return checkCount(len(p.graph.External))
}

// value takes a ValueInfoProto.
func (p *graphParser) value(end int64, values *[]Value) error {
	var v Value
	err := p.r.message(end, func(field, end int64) (err error) {
		switch field {
		case valueName:
			v.Name, err = p.r.text(end)
		case valueType:
			err = p.r.message(end, func(field, end int64) error {
				if field != typeTensor {
					return nil
				}
				return p.tensorType(end, &v)
			})
		}
		return err
	})
	*values = append(*values, v)
	if err != nil {
		return err
	}
	return checkCount(len(*values))
}

// tensorType takes element type and shape from a TypeProto.Tensor.
func (p *graphParser) tensorType(end int64, v *Value) error {
	return p.r.message(end, func(field, end int64) error {
		switch field {
		case tensorElemType:
			v.Type = ElementType(p.r.number)
		case tensorTypeShape:
			v.Shape = []int64{}
			return p.r.message(end, func(field, end int64) error {
				if field != shapeDim {
					return nil
				}
				dim, err := p.dimension(end)
				v.Shape = append(v.Shape, dim)
				return err
			})
		}
		return nil
	})
}

// dimension takes a fixed dimension; one that is only named, or not even that, is -1.
func (p *graphParser) dimension(end int64) (int64, error) {
	dim := int64(-1)
	err := p.r.message(end, func(field, _ int64) error {
		if field == dimValue && int64(p.r.number) > 0 {
			dim = int64(p.r.number)
		}
		return nil
	})
	return dim, err
}

func checkCount(n int) error {
	if n > maxValues {
		return fmt.Errorf("more than %d inputs, outputs or external files", maxValues)
	}
	return nil
}
