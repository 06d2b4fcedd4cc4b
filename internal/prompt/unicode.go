// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package prompt

import (
	"cmp"
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Python's tokenizers 0.23 looks at characters with tables of several versions of
// Unicode, where Go and golang.org/x/text have 15.0: letters and numbers are those of
// Unicode 16 (Oniguruma), lower case is that of Unicode 17 (Rust), and composition that
// of Unicode 9 (the crate unicode-normalization-alignments). The tables here are the
// difference. Test data of hack/goldens/tokenizer.py covers every character.

// newerLetters are the letters since Unicode 15.1.
var newerLetters = &unicode.RangeTable{
	R16: []unicode.Range16{{0x1c89, 0x1c8a, 1}, {0xa7cb, 0xa7cd, 1}, {0xa7da, 0xa7dc, 1}},
	R32: []unicode.Range32{
		{0x105c0, 0x105f3, 1}, {0x10d4a, 0x10d65, 1}, {0x10d6f, 0x10d85, 1}, {0x10ec2, 0x10ec4, 1}, {0x11380, 0x11389, 1},
		{0x1138b, 0x1138b, 1}, {0x1138e, 0x1138e, 1}, {0x11390, 0x113b5, 1}, {0x113b7, 0x113b7, 1}, {0x113d1, 0x113d1, 1},
		{0x113d3, 0x113d3, 1}, {0x11bc0, 0x11be0, 1}, {0x13460, 0x143fa, 1}, {0x16100, 0x1611d, 1}, {0x16d40, 0x16d6c, 1},
		{0x18cff, 0x18cff, 1}, {0x1e5d0, 0x1e5ed, 1}, {0x1e5f0, 0x1e5f0, 1}, {0x2ebf0, 0x2ee5d, 1},
	},
}

// newerNumbers are the numbers since Unicode 15.1.
var newerNumbers = &unicode.RangeTable{R32: []unicode.Range32{
	{0x10d40, 0x10d49, 1}, {0x116d0, 0x116e3, 1}, {0x11bf0, 0x11bf9, 1}, {0x16130, 0x16139, 1}, {0x16d70, 0x16d79, 1},
	{0x1ccf0, 0x1ccf9, 1}, {0x1e5f1, 0x1e5fa, 1},
}}

// newerCapitals are the capital letters since Unicode 15.1; of each, the second number
// of its deltas leads to the lower case.
var newerCapitals = unicode.SpecialCase{
	{Lo: 0x1c89, Hi: 0x1c89, Delta: [3]rune{0, 1, 0}},
	{Lo: 0xa7cb, Hi: 0xa7cb, Delta: [3]rune{0, 0x264 - 0xa7cb, 0}},
	{Lo: 0xa7cc, Hi: 0xa7cc, Delta: [3]rune{0, 1, 0}},
	{Lo: 0xa7ce, Hi: 0xa7ce, Delta: [3]rune{0, 1, 0}},
	{Lo: 0xa7d2, Hi: 0xa7d2, Delta: [3]rune{0, 1, 0}},
	{Lo: 0xa7d4, Hi: 0xa7d4, Delta: [3]rune{0, 1, 0}},
	{Lo: 0xa7da, Hi: 0xa7da, Delta: [3]rune{0, 1, 0}},
	{Lo: 0xa7dc, Hi: 0xa7dc, Delta: [3]rune{0, 0x19b - 0xa7dc, 0}},
	{Lo: 0x10d50, Hi: 0x10d65, Delta: [3]rune{0, 0x20, 0}},
	{Lo: 0x16ea0, Hi: 0x16eb8, Delta: [3]rune{0, 0x1b, 0}},
}

// newerMarks are the combining marks since Unicode 10. To Unicode 9 they are characters
// like any others, which marks do not pass when they are put in order.
var newerMarks = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x07fd, 0x07fd, 1}, {0x0898, 0x089f, 1}, {0x08ca, 0x08d3, 1}, {0x09fe, 0x09fe, 1}, {0x0c3c, 0x0c3c, 1}, {0x0d3b, 0x0d3c, 1},
		{0x0eba, 0x0eba, 1}, {0x1715, 0x1715, 1}, {0x1abf, 0x1ace, 1}, {0x1df6, 0x1dfa, 1}, {0xa82c, 0xa82c, 1},
	},
	R32: []unicode.Range32{
		{0x10d24, 0x10d27, 1}, {0x10eab, 0x10eac, 1}, {0x10efd, 0x10eff, 1}, {0x10f46, 0x10f50, 1}, {0x10f82, 0x10f85, 1},
		{0x11070, 0x11070, 1}, {0x1133b, 0x1133b, 1}, {0x1145e, 0x1145e, 1}, {0x11839, 0x1183a, 1}, {0x1193d, 0x1193e, 1},
		{0x11943, 0x11943, 1}, {0x119e0, 0x119e0, 1}, {0x11a34, 0x11a34, 1}, {0x11a47, 0x11a47, 1}, {0x11a99, 0x11a99, 1},
		{0x11d42, 0x11d42, 1}, {0x11d44, 0x11d45, 1}, {0x11d97, 0x11d97, 1}, {0x11f41, 0x11f42, 1}, {0x16ff0, 0x16ff1, 1},
		{0x1e08f, 0x1e08f, 1}, {0x1e130, 0x1e136, 1}, {0x1e2ae, 0x1e2ae, 1}, {0x1e2ec, 0x1e2ef, 1}, {0x1e4ec, 0x1e4ef, 1},
	},
}

// newerComposite is the one composed character between Unicode 9 and 15, and
// newerPart its second part.
const (
	newerComposite = '\U00011938'
	newerPart      = '\U00011930'
)

func isLetter(r rune) bool { return unicode.IsLetter(r) || unicode.Is(newerLetters, r) }

func isNumber(r rune) bool { return unicode.IsNumber(r) || unicode.Is(newerNumbers, r) }

// compose brings a text into Unicode's normalization form C. Other than norm.NFC it
// takes as many marks in a row as there are: norm.NFC puts a joiner between 30 of them.
func compose(text string) string {
	if norm.NFC.IsNormalString(text) {
		return text
	}
	composed := make([]rune, 0, len(text))
	// starter is the last character that others join, and last the class of the mark
	// before; marks of one class between the two keep off those that follow.
	starter, last := -1, uint8(0)
	for _, m := range decompose(text) {
		if starter >= 0 && (starter == len(composed)-1 || last < m.class) {
			if joined, ok := join(composed[starter], m.char); ok {
				composed[starter] = joined
				continue
			}
		}
		if m.class == 0 {
			starter = len(composed)
		}
		last = m.class
		composed = append(composed, m.char)
	}
	return string(composed)
}

// mark is a character with its canonical combining class; 0 is none.
type mark struct {
	char  rune
	class uint8
}

// decompose brings a text into normalization form D.
func decompose(text string) []mark {
	marks := make([]mark, 0, len(text))
	ordered := 0
	for _, r := range text {
		parts := string(r)
		if r != newerComposite {
			parts = norm.NFD.String(parts)
		}
		for _, part := range parts {
			m := mark{part, combiningClass(part)}
			if m.class == 0 {
				order(marks[ordered:])
				ordered = len(marks) + 1
			}
			marks = append(marks, m)
		}
	}
	order(marks[min(ordered, len(marks)):])
	return marks
}

// order sorts marks in a row by their classes.
func order(marks []mark) {
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Compare(a.class, b.class) })
}

// combiningClass is the class that Unicode 9 gives a character.
func combiningClass(r rune) uint8 {
	if unicode.Is(newerMarks, r) {
		return 0
	}
	return norm.NFD.PropertiesString(string(r)).CCC()
}

// join gives the character that two are composed to.
func join(first, second rune) (rune, bool) {
	if second == newerPart || norm.NFC.PropertiesString(string(second)).BoundaryBefore() {
		return 0, false
	}
	both := norm.NFC.String(string([]rune{first, second}))
	joined, size := utf8.DecodeRuneInString(both)
	return joined, size == len(both)
}
