// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import "fmt"

// Tensor is a dense, row-major array in Go memory. Exactly one of F32 and I64 is set,
// and it holds as many elements as the shape says; an empty shape is a scalar of one
// element. Callers compute in these two types whatever a graph declares: Run converts.
type Tensor struct {
	Shape []int64
	F32   []float32
	I64   []int64
}

// Float32 makes a tensor over data, which it keeps.
func Float32(data []float32, shape ...int64) *Tensor { return &Tensor{Shape: shape, F32: data} }

// Int64 makes a tensor over data, which it keeps.
func Int64(data []int64, shape ...int64) *Tensor { return &Tensor{Shape: shape, I64: data} }

// NewFloat32 makes a float32 tensor of zeros.
func NewFloat32(shape ...int64) *Tensor {
	return &Tensor{Shape: shape, F32: make([]float32, elements(shape))}
}

// elements multiplies a shape out. It is -1 for a shape with a negative dimension and
// for one too large to exist in memory.
func elements(shape []int64) int {
	const most = 1 << 40
	n := int64(1)
	for _, d := range shape {
		if d < 0 || (d > 0 && n > most/d) {
			return -1
		}
		n *= d
	}
	return int(n)
}

// len is the number of elements.
func (t *Tensor) len() int { return len(t.F32) + len(t.I64) }

// check compares a tensor with what the graph declares under the same name.
func (t *Tensor) check(v Value) error {
	if (t.F32 == nil) == (t.I64 == nil) {
		return fmt.Errorf("%s: a tensor needs either float32 or int64 data", v.Name)
	}
	if n := elements(t.Shape); n != t.len() {
		return fmt.Errorf("%s: shape %v asks for %d elements, but there are %d", v.Name, t.Shape, n, t.len())
	}
	if v.Shape == nil {
		return nil
	}
	fits := len(t.Shape) == len(v.Shape)
	for i := 0; fits && i < len(t.Shape); i++ {
		fits = v.Shape[i] < 0 || v.Shape[i] == t.Shape[i]
	}
	if !fits {
		return fmt.Errorf("%s: shape %v does not fit %v, which the graph declares", v.Name, t.Shape, v.Shape)
	}
	return nil
}
