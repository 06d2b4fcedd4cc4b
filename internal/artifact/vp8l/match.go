// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package vp8l

const (
	// Shorter matches cost more than the pixels do.
	minMatch = 4
	maxMatch = 4096
	// window is how far back a match may be: what the largest distance code can say.
	window = 1<<20 - nearCodes
	// chain is how many earlier places are tried.
	chain    = 32
	hashBits = 15
)

// token is a pixel, or where length is above 0 a copy of as many pixels.
type token struct {
	pixel
	length, distance int
}

// tokenize finds repetitions, taking at each pixel the longest of those tried.
func tokenize(pixels []pixel) []token {
	var tokens []token
	m := matcher{pixels: pixels, before: make([]int32, len(pixels))}
	for i := 0; i < len(pixels); {
		t := m.longest(i)
		n := max(t.length, 1)
		for j := i; j < i+n; j++ {
			m.insert(j)
		}
		tokens = append(tokens, t)
		i += n
	}
	return tokens
}

// matcher knows where the pixels at a place were seen before.
type matcher struct {
	pixels []pixel
	// last has for each hash the last place plus 1, and before for each place the one
	// before it with the same hash.
	last   [1 << hashBits]int32
	before []int32
}

// hash is of the two pixels at i.
func (m *matcher) hash(i int) uint32 {
	a, b := m.pixels[i], m.pixels[i+1]
	h := uint32(a[0])<<16 | uint32(a[1])<<8 | uint32(a[2])
	h ^= (uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])) * 0x9e3779b1
	return h * 0x85ebca6b >> (32 - hashBits)
}

func (m *matcher) insert(i int) {
	if i+1 < len(m.pixels) {
		h := m.hash(i)
		m.before[i], m.last[h] = m.last[h], int32(i+1)
	}
}

// longest gives the pixel at i, or the longest copy that begins there.
func (m *matcher) longest(i int) token {
	t := token{pixel: m.pixels[i]}
	limit := min(len(m.pixels)-i, maxMatch)
	if limit < minMatch {
		return t
	}
	best := minMatch - 1
	at := m.last[m.hash(i)]
	for range chain {
		from := int(at) - 1
		if from < 0 || i-from > window {
			break
		}
		if n := m.common(from, i, limit); n > best {
			best = n
			t.length, t.distance = n, i-from
		}
		at = m.before[from]
	}
	return t
}

// common is how many pixels from a and b on are the same, up to limit.
func (m *matcher) common(a, b, limit int) int {
	n := 0
	for n < limit && m.pixels[a+n] == m.pixels[b+n] {
		n++
	}
	return n
}
