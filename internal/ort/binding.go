// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/x448/float16"
	onnx "github.com/yalue/onnxruntime_go"
)

// binding holds the converted elements of one input or output where the graph declares
// another type than the tensor has. They stay allocated from run to run.
type binding struct {
	f32 []float32
	f64 []float64
	f16 []float16.Float16
	i32 []int32
	i64 []int64
	bit []bool
}

// input makes ONNX Runtime's view of a tensor that a graph reads, over its own data
// where the types are equal and over converted ones otherwise.
func (b *binding) input(kind ElementType, t *Tensor, pins *runtime.Pinner) (onnx.Value, error) {
	switch {
	case kind == TypeFloat32 && t.F32 != nil:
		return view(t.Shape, t.F32, pins)
	case kind == TypeInt64 && t.I64 != nil:
		return view(t.Shape, t.I64, pins)
	case kind == TypeFloat32:
		return view(t.Shape, converted(&b.f32, t), pins)
	case kind == TypeInt64:
		return view(t.Shape, converted(&b.i64, t), pins)
	case kind == TypeInt32:
		return view(t.Shape, converted(&b.i32, t), pins)
	case kind == TypeFloat64:
		return view(t.Shape, converted(&b.f64, t), pins)
	case kind == TypeFloat16:
		return view16(t.Shape, b.half(t), pins)
	case kind == TypeBool:
		return view(t.Shape, b.bits(t), pins)
	}
	return nil, fmt.Errorf("elements of %s are not supported", kind)
}

// output makes ONNX Runtime's view of a tensor that a graph writes. After the run,
// store brings what was converted into the tensor.
func (b *binding) output(kind ElementType, t *Tensor, pins *runtime.Pinner) (onnx.Value, error) {
	switch {
	case len(t.Shape) == 0 && kind != TypeFloat16:
		return nil, fmt.Errorf("a scalar output of %s is not supported", kind)
	case kind == TypeFloat32 && t.F32 != nil:
		return view(t.Shape, t.F32, pins)
	case kind == TypeFloat64 && t.F32 != nil:
		return view(t.Shape, resize(&b.f64, len(t.F32)), pins)
	case kind == TypeFloat16 && t.F32 != nil:
		return view16(t.Shape, resize(&b.f16, len(t.F32)), pins)
	}
	return nil, fmt.Errorf("elements of %s are not supported", kind)
}

// store fills a tensor from what the graph wrote as another type.
func (b *binding) store(kind ElementType, t *Tensor) {
	switch kind {
	case TypeFloat64:
		cast(t.F32, b.f64)
	case TypeFloat16:
		for i, v := range b.f16 {
			t.F32[i] = v.Float32()
		}
	}
}

// half converts to float16, rounding to nearest, ties to even.
func (b *binding) half(t *Tensor) []float16.Float16 {
	half := resize(&b.f16, t.len())
	for i, v := range t.F32 {
		half[i] = float16.Fromfloat32(v)
	}
	for i, v := range t.I64 {
		half[i] = float16.Fromfloat32(float32(v))
	}
	return half
}

// bits converts to booleans: all but zero is true.
func (b *binding) bits(t *Tensor) []bool {
	bits := resize(&b.bit, t.len())
	for i, v := range t.F32 {
		bits[i] = v != 0
	}
	for i, v := range t.I64 {
		bits[i] = v != 0
	}
	return bits
}

// number is what elements are converted from and to.
type number interface {
	float32 | float64 | int32 | int64
}

// converted gives the elements of a tensor as another type. Fractions are cut off, as
// Python's exporters do with a timestep that the graph takes as an integer.
func converted[T number](s *[]T, t *Tensor) []T {
	out := resize(s, t.len())
	cast(out, t.F32)
	cast(out, t.I64)
	return out
}

func cast[D, S number](dst []D, src []S) {
	for i, v := range src {
		dst[i] = D(v)
	}
}

// resize gives n elements, allocating only when there were fewer before.
func resize[T any](s *[]T, n int) []T {
	if cap(*s) < n {
		*s = make([]T, n)
	}
	*s = (*s)[:n]
	return *s
}

// view wraps data for ONNX Runtime.
func view[T onnx.TensorData](shape []int64, data []T, pins *runtime.Pinner) (onnx.Value, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("shape %v has no elements", shape)
	}
	if len(shape) == 0 {
		scalar, err := onnx.NewScalar(data[0])
		if err != nil {
			return nil, err
		}
		return scalar, nil
	}
	pins.Pin(&data[0])
	tensor, err := onnx.NewTensor(onnx.Shape(shape), data)
	if err != nil {
		return nil, err
	}
	return tensor, nil
}

// view16 wraps float16 data, which the binding knows only as bytes with a type's name.
func view16(shape []int64, data []float16.Float16, pins *runtime.Pinner) (onnx.Value, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("shape %v has no elements", shape)
	}
	pins.Pin(&data[0])
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), len(data)*int(unsafe.Sizeof(data[0])))
	scalar := len(shape) == 0
	if scalar {
		shape = []int64{1}
	}
	tensor, err := onnx.NewCustomDataTensor(onnx.Shape(shape), bytes, onnx.TensorElementDataTypeFloat16)
	switch {
	case err != nil:
		return nil, err
	case scalar:
		return newScalar16(&data[0], tensor)
	}
	return tensor, nil
}
