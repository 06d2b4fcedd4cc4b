// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package prompt

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// normalize composes (NFC), lets each run of white space be one space, and lower-cases
// letter by letter.
func normalize(text string) string {
	text = compose(strings.ToValidUTF8(text, string(utf8.RuneError)))
	var b strings.Builder
	b.Grow(len(text))
	space := false
	for _, r := range text {
		if unicode.IsSpace(r) {
			if !space {
				b.WriteByte(' ')
			}
			space = true
			continue
		}
		space = false
		if r == 'İ' {
			// The one letter whose lower case, by Unicode's full mapping, is two runes.
			b.WriteString("i\u0307")
			continue
		}
		b.WriteRune(newerCapitals.ToLower(r))
	}
	return b.String()
}

// contractions are words of their own where they begin one.
var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// markers are matched whole by CLIP's pattern and then split again by the byte-level
// one. Where they are special tokens, the text here holds none.
var markers = []string{beginMarker, endMarker}

const (
	beginMarker = "<|startoftext|>"
	endMarker   = "<|endoftext|>"
)

// words calls emit for each word of a normalized text, in the sense of CLIP's pattern:
//
//	<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
func words(text string, emit func(string)) {
	for text != "" {
		n := wordLength(text)
		if r, _ := utf8.DecodeRuneInString(text); !unicode.IsSpace(r) {
			emitWord(text[:n], emit)
		}
		text = text[n:]
	}
}

// wordLength is the number of bytes of the word, or the space, that the text begins with.
func wordLength(text string) int {
	for _, list := range [][]string{markers, contractions} {
		for _, literal := range list {
			if strings.HasPrefix(text, literal) {
				return len(literal)
			}
		}
	}
	r, size := utf8.DecodeRuneInString(text)
	switch {
	case isLetter(r):
		return runLength(text, isLetter)
	case isNumber(r), unicode.IsSpace(r):
		return size
	}
	return runLength(text, isOther)
}

// emitWord splits the one kind of word that the byte-level pattern splits further.
func emitWord(word string, emit func(string)) {
	if !slices.Contains(markers, word) {
		emit(word)
		return
	}
	emit(word[:2])
	emit(word[2 : len(word)-2])
	emit(word[len(word)-2:])
}

func runLength(text string, in func(rune) bool) int {
	n := strings.IndexFunc(text, func(r rune) bool { return !in(r) })
	if n < 0 {
		return len(text)
	}
	return n
}

func isOther(r rune) bool {
	return !isLetter(r) && !isNumber(r) && !unicode.IsSpace(r)
}
