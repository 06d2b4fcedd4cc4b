// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package vp8l

import "math/bits"

// Sizes of the alphabets.
const (
	colours      = 256
	lengthCodes  = 24
	distances    = 40
	lengthSymbol = colours // The first length symbol, after the greens.
)

// nearCodes are the distance codes that mean places around the pixel. Two of them are
// used: the pixel above and the one to the left. From there on a code is a distance.
const (
	nearCodes = 120
	codeAbove = 1
	codeLeft  = 2
)

// writePixels writes an entropy-coded image. Only the picture itself may have several sets
// of prefix codes, and says that it has one.
func writePixels(w *bitWriter, pixels []pixel, width int, isPicture bool) {
	w.write(0, 1) // No colour cache.
	if isPicture {
		w.write(0, 1)
	}
	tokens := tokenize(pixels)
	counts := count(tokens, width)
	greens, reds, blues := newPrefixCode(counts.greens[:], maxCodeLength), newPrefixCode(counts.reds[:], maxCodeLength), newPrefixCode(counts.blues[:], maxCodeLength)
	alphas, far := newPrefixCode(counts.alphas[:], maxCodeLength), newPrefixCode(counts.distances[:], maxCodeLength)
	for _, code := range []prefixCode{greens, reds, blues, alphas, far} {
		code.writeLengths(w)
	}
	for _, t := range tokens {
		if t.length == 0 {
			greens.write(w, int(t.pixel[green]))
			reds.write(w, int(t.pixel[red]))
			blues.write(w, int(t.pixel[blue]))
			alphas.write(w, 0)
			continue
		}
		length := split(t.length)
		greens.write(w, lengthSymbol+length.symbol)
		w.write(length.rest, length.restBits)
		distance := split(distanceCode(t.distance, width))
		far.write(w, distance.symbol)
		w.write(distance.rest, distance.restBits)
	}
}

// histograms count the symbols of each alphabet.
type histograms struct {
	greens              [colours + lengthCodes]int
	reds, blues, alphas [colours]int
	distances           [distances]int
}

func count(tokens []token, width int) (h histograms) {
	for _, t := range tokens {
		if t.length == 0 {
			h.greens[t.pixel[green]]++
			h.reds[t.pixel[red]]++
			h.blues[t.pixel[blue]]++
			h.alphas[0]++
			continue
		}
		h.greens[lengthSymbol+split(t.length).symbol]++
		h.distances[split(distanceCode(t.distance, width)).symbol]++
	}
	return h
}

// distanceCode is the code of a distance in pixels.
func distanceCode(distance, width int) int {
	switch distance {
	case width:
		return codeAbove
	case 1:
		return codeLeft
	}
	return distance + nearCodes
}

// prefixed is a number as a symbol, which says its size, and the bits that it leaves open.
type prefixed struct {
	symbol   int
	rest     uint32
	restBits int
}

// split splits a number from 1 up: the symbol has the two highest bits of the number less 1.
func split(n int) prefixed {
	v := uint32(n - 1)
	if v < 4 {
		return prefixed{symbol: int(v)}
	}
	high := bits.Len32(v) - 1
	second := int(v>>(high-1)) & 1
	return prefixed{symbol: 2*high + second, rest: v & (1<<(high-1) - 1), restBits: high - 1}
}

// bitWriter collects bits, the lowest first.
type bitWriter struct {
	out     []byte
	pending uint64
	n       int
}

// write appends the low n bits, at most 32, of v.
func (w *bitWriter) write(v uint32, n int) {
	w.pending |= uint64(v) << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.pending))
		w.pending >>= 8
	}
}

// bytes ends the stream with zeros up to a whole byte.
func (w *bitWriter) bytes() []byte {
	if w.n > 0 {
		w.write(0, 8-w.n)
	}
	return w.out
}
