// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"image/png"
	"sync"
)

// encoderBuffers are what encoders of PNG have left behind: most of the memory that a
// picture's way into its file takes.
var encoderBuffers bufferPool

// bufferPool lends an encoder its buffers.
type bufferPool struct{ pool sync.Pool }

var _ png.EncoderBufferPool = (*bufferPool)(nil)

// Get gives buffers, or nil for the encoder to make some.
func (p *bufferPool) Get() *png.EncoderBuffer {
	buffer, _ := p.pool.Get().(*png.EncoderBuffer)
	return buffer
}

// Put takes buffers back.
func (p *bufferPool) Put(buffer *png.EncoderBuffer) { p.pool.Put(buffer) }
