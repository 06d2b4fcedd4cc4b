// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package diffusion

// history has what was predicted, the latest last.
type history struct{ converted [][]float32 }

// add keeps as many predictions as the order. Where the sample did not move, nothing can
// be learnt from the ones before.
func (h *history) add(converted []float32, order int, stayed bool) {
	if stayed {
		h.converted = nil
	}
	h.converted = append(h.converted, converted)
	if len(h.converted) > order {
		h.converted = h.converted[1:]
	}
}

// latest gives the last n predictions.
func (h *history) latest(n int) [][]float32 { return h.converted[len(h.converted)-n:] }
