// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package vp8l

import (
	"cmp"
	"math/bits"
	"slices"
)

// Longest codes of the format, and of the code in which their lengths are written.
const (
	maxCodeLength       = 15
	maxLengthCodeLength = 7
)

// prefixCode has for each symbol its length in bits, 0 where it does not occur, and its bits
// in the order in which they are written.
type prefixCode struct {
	lengths []int
	bits    []uint32
	// used are the symbols that occur. A lone one takes no bits.
	used []int
}

// newPrefixCode makes a code for symbols that occur as often as counts says, with no length
// above the limit.
func newPrefixCode(counts []int, limit int) prefixCode {
	code := prefixCode{lengths: make([]int, len(counts)), bits: make([]uint32, len(counts))}
	for symbol, n := range counts {
		if n > 0 {
			code.used = append(code.used, symbol)
		}
	}
	if len(code.used) < 2 {
		return code
	}
	// Raising the rarest flattens the tree, in the end to one where all lengths are alike.
	for least := 1; ; least *= 2 {
		weights := make([]int, len(code.used))
		for i, symbol := range code.used {
			weights[i] = max(counts[symbol], least)
		}
		depths := huffman(weights)
		if slices.Max(depths) > limit {
			continue
		}
		for i, symbol := range code.used {
			code.lengths[symbol] = depths[i]
		}
		code.assign()
		return code
	}
}

// huffman gives the depth of each weight in Huffman's tree, in the way of two queues: leaves
// by weight, and branches, which come in the order of theirs.
func huffman(weights []int) []int {
	type node struct{ weight, left, right int }
	order := make([]int, len(weights))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(weights[a], weights[b]) })
	nodes := make([]node, 0, 2*len(weights))
	for _, i := range order {
		nodes = append(nodes, node{weight: weights[i], left: -1})
	}
	leaf, branch := 0, len(weights)
	next := func() int {
		if leaf < len(weights) && (branch == len(nodes) || nodes[leaf].weight <= nodes[branch].weight) {
			leaf++
			return leaf - 1
		}
		branch++
		return branch - 1
	}
	for range len(weights) - 1 {
		left, right := next(), next()
		nodes = append(nodes, node{nodes[left].weight + nodes[right].weight, left, right})
	}
	depths := make([]int, len(nodes))
	for i := len(nodes) - 1; i >= len(weights); i-- {
		depths[nodes[i].left], depths[nodes[i].right] = depths[i]+1, depths[i]+1
	}
	out := make([]int, len(weights))
	for i, symbol := range order {
		out[symbol] = depths[i]
	}
	return out
}

// assign gives each symbol its bits: canonical codes, by length and then by symbol, which are
// read from their highest bit on.
func (c *prefixCode) assign() {
	next := uint32(0)
	for length := 1; length <= maxCodeLength; length++ {
		for _, symbol := range c.used {
			if c.lengths[symbol] == length {
				c.bits[symbol] = bits.Reverse32(next) >> (32 - length)
				next++
			}
		}
		next <<= 1
	}
}

// write writes a symbol.
func (c prefixCode) write(w *bitWriter, symbol int) { w.write(c.bits[symbol], c.lengths[symbol]) }

// writeLengths writes the code itself.
func (c prefixCode) writeLengths(w *bitWriter) {
	if len(c.used) == 0 || len(c.used) <= 2 && slices.Max(c.used) < colours {
		c.writeSimple(w)
		return
	}
	w.write(0, 1)
	writeRuns(w, runs(c.lengths))
}

// writeSimple writes a code of up to two symbols below 256, of one bit where there are two.
// A code that is never used has the symbol 0.
func (c prefixCode) writeSimple(w *bitWriter) {
	symbols := c.used
	if len(symbols) == 0 {
		symbols = []int{0}
	}
	w.write(1, 1)
	w.write(uint32(len(symbols)-1), 1)
	w.write(1, 1) // The first symbol has 8 bits.
	for _, symbol := range symbols {
		w.write(uint32(symbol), 8)
	}
}

// Symbols of the code in which lengths are written, beside the lengths themselves.
const (
	someZeros    = 17 // 3 to 10, in 3 bits.
	manyZeros    = 18 // 11 to 138, in 7 bits.
	lengthsInAll = 19
)

// lengthOrder is in which order the lengths of that code are written.
var lengthOrder = [lengthsInAll]int{17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// runs writes lengths with their runs of zeros, which most are, cut short.
func runs(lengths []int) (out []prefixed) {
	for i := 0; i < len(lengths); {
		zeros := 0
		for i+zeros < len(lengths) && lengths[i+zeros] == 0 && zeros < 138 {
			zeros++
		}
		switch {
		case zeros >= 11:
			out = append(out, prefixed{manyZeros, uint32(zeros - 11), 7})
		case zeros >= 3:
			out = append(out, prefixed{someZeros, uint32(zeros - 3), 3})
		default:
			out = append(out, prefixed{symbol: lengths[i]})
			zeros = 1
		}
		i += zeros
	}
	return out
}

// writeRuns writes lengths in a code of their own, and that before them.
func writeRuns(w *bitWriter, lengths []prefixed) {
	var counts [lengthsInAll]int
	for _, l := range lengths {
		counts[l.symbol]++
	}
	code := newPrefixCode(counts[:], maxLengthCodeLength)
	declared := slices.Clone(code.lengths)
	if len(code.used) == 1 {
		declared[code.used[0]] = 1 // It takes no bits, but has to be named.
	}
	w.write(lengthsInAll-4, 4)
	for _, symbol := range lengthOrder {
		w.write(uint32(declared[symbol]), 3)
	}
	w.write(0, 1) // There are as many lengths as symbols.
	for _, l := range lengths {
		code.write(w, l.symbol)
		w.write(l.rest, l.restBits)
	}
}
