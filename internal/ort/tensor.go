// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import "fmt"

// Tensor is a dense, row-major array in Go memory. Exactly one of the data slices is
// set, and it holds as many elements as the shape says. An empty shape is a scalar of
// one element. Run converts the elements to the type that the graph declares.
type Tensor struct {
	Shape []int64
	F32   []float32
	I64   []int64
}

// Float32 makes a tensor over data, which it keeps.
func Float32(data []float32, shape ...int64) *Tensor { return &Tensor{Shape: shape, F32: data} }

// Int64 makes a tensor over data, which it keeps.
func Int64(data []int64, shape ...int64) *Tensor { return &Tensor{Shape: shape, I64: data} }

// NewFloat32 makes a tensor of zeros.
func NewFloat32(shape ...int64) *Tensor {
	n, _ := elements(shape)
	return &Tensor{Shape: shape, F32: make([]float32, max(n, 0))}
}

// Elements gives the number of elements that the shape asks for.
func (t *Tensor) Elements() int { n, _ := elements(t.Shape); return n }

// elements multiplies a shape out.
func elements(shape []int64) (int, error) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 || (d > 0 && n > maxElements/d) {
			return 0, fmt.Errorf("shape %v has a negative dimension or more than %d elements", shape, int64(maxElements))
		}
		n *= d
	}
	return int(n), nil
}

// maxElements bounds a tensor to 16 GiB of float32.
const maxElements = 1 << 32
