// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package compel

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// syntactic characters end a word unless a backslash is before them.
const syntactic = `()",.+-=`

func isSyntactic(b byte) bool { return strings.IndexByte(syntactic, b) >= 0 }

// isWhite is what separates words.
func isWhite(b byte) bool { return b == ' ' || b == '\n' || b == '\r' }

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// isKeyword is what names of options and adaptations consist of.
func isKeyword(b byte) bool {
	return isDigit(b) || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_' || b == '-'
}

// isSpace is Python's str.isspace.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// separateCommas puts a space after each comma before a character, unless that is a comma
// that got one itself.
func separateCommas(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		b.WriteString(text[i : i+size])
		i += size
		if r != ',' || i == len(text) {
			continue
		}
		if next, n := utf8.DecodeRuneInString(text[i:]); !isSpace(next) {
			b.WriteString(" " + text[i:i+n])
			i += n
		}
	}
	return b.String()
}

// expandTabs is Python's str.expandtabs. Vertical tabs and form feeds, of which compel can
// make nothing, are spaces.
func expandTabs(text string) string {
	if !strings.ContainsAny(text, "\t\v\f") {
		return text
	}
	const width = 8
	var b strings.Builder
	column := 0
	for _, r := range text {
		switch r {
		case '\t':
			spaces := width - column%width
			b.WriteString(strings.Repeat(" ", spaces))
			column += spaces
			continue
		case '\v', '\f':
			r = ' '
		case '\n', '\r':
			column = -1
		}
		b.WriteRune(r)
		column++
	}
	return b.String()
}

// unescape takes the backslashes away that stand before parentheses and quotes; those
// before other syntactic characters stay.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	text = strings.ReplaceAll(text, `\(`, `(`)
	text = strings.ReplaceAll(text, `\)`, `)`)
	return strings.ReplaceAll(text, `\"`, `"`)
}

// quotedContent gives what is between the quote at a place and the one that closes it. A
// quote after a backslash closes only where no other does.
func (p *parser) quotedContent(at int) (content string, end int, ok bool) {
	if at >= len(p.text) || p.text[at] != '"' {
		return "", 0, false
	}
	escaped := -1
	for i := at + 1; i < len(p.text); i++ {
		switch p.text[i] {
		case '"':
			return unquote(p.text[at+1 : i]), i + 1, true
		case '\n', '\r':
			i = len(p.text)
		case '\\':
			if i+1 < len(p.text) && p.text[i+1] == '"' {
				i++
				escaped = i
			}
		}
	}
	if escaped < 0 {
		return "", 0, false
	}
	return unquote(p.text[at+1 : escaped]), escaped + 1, true
}

// escapes are what pyparsing 3.3 takes for escape sequences in quotes. The numbers in it
// were meant as counts of digits.
var escapes = regexp.MustCompile(`\\[tnfr]|\\[0-7]3|\\0|\\x[0-9a-fA-F]2|\\u[0-9a-fA-F]4`)

// unquote resolves escape sequences.
func unquote(text string) string {
	text = escapes.ReplaceAllStringFunc(text, func(sequence string) string {
		switch sequence[1] {
		case 't', 'n', 'f', 'r':
			return " " // White space, all of which is the same here.
		case 'x', 'u':
			code, err := strconv.ParseUint(sequence[2:], 16, 8)
			if err == nil {
				return string(rune(code))
			}
		}
		if sequence == `\0` {
			return "\x00"
		}
		return sequence[1:]
	})
	return strings.ReplaceAll(text, `\"`, `"`)
}

// number reads an unsigned number, or where it may be signed one with a sign.
func (p *parser) number(at int, signed bool) (value float64, end int, ok bool) {
	at = p.skip(at)
	start := at
	if signed && at < len(p.text) && (p.text[at] == '-' || p.text[at] == '+') {
		at++
	}
	whole := p.run(at, isDigit)
	end = whole
	if whole < len(p.text) && p.text[whole] == '.' {
		if fraction := p.run(whole+1, isDigit); fraction > whole+1 || whole > at {
			end = fraction
		}
	}
	if end == at || end == whole && p.text[start] == '+' { // Only numbers with a point have a plus.
		return 0, 0, false
	}
	value, err := strconv.ParseFloat(p.text[start:end], 64)
	if err != nil {
		p.fail("number", "is out of range")
	}
	return value, end, true
}

// power is what a run of plus or minus signs stands for: 1.1 or 0.9 to the power of n. It
// is rounded once, as products that are compared with it are.
func power(sign byte, n int) float64 {
	base := 1.1
	if sign == '-' {
		base = 0.9
	}
	const precision = 256
	product := new(big.Float).SetPrec(precision).SetInt64(1)
	factor := new(big.Float).SetPrec(precision).SetFloat64(base)
	for range min(n, 1<<14) { // From there on it is infinite or 0.
		product.Mul(product, factor)
	}
	value, _ := product.Float64()
	return value
}
