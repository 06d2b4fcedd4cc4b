// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package prompt

import (
	"slices"
	"strings"
)

// Chunks divides tokens into as many as fit between begin and end; there is at least one
// chunk. Each ends, as compel's SplitLongTextMode.SENTENCES has it, with the last period
// that fits, or where there is none with the last mark of punctuation, or else with the
// last whole word.
func (t *Tokenizer) Chunks(tokens []int64) [][]int64 {
	var chunks [][]int64
	most := t.maxLength - 2
	for len(tokens) > most {
		n := t.splitPoint(tokens[:most])
		chunks, tokens = append(chunks, tokens[:n]), tokens[n:]
	}
	return append(chunks, tokens)
}

// splitPoint is how many of the tokens go into a chunk.
func (t *Tokenizer) splitPoint(tokens []int64) int {
	for _, ends := range []func(id int64) bool{
		t.isOneOf("."), t.isOneOf(".", ",", ";", ":"), func(id int64) bool { return t.endsWord[id] },
	} {
		for i, token := range slices.Backward(tokens) {
			if ends(token) {
				return i + 1
			}
		}
	}
	return len(tokens)
}

// isOneOf says whether an id is that of one of the words.
func (t *Tokenizer) isOneOf(words ...string) func(id int64) bool {
	var ids []int64
	for _, word := range words {
		if id, ok := t.vocabulary[word+endOfWord]; ok {
			ids = append(ids, int64(id))
		}
	}
	return func(id int64) bool { return slices.Contains(ids, id) }
}

// markWordEnds remembers which tokens end a word.
func (t *Tokenizer) markWordEnds() {
	t.endsWord = make([]bool, t.size)
	for token, id := range t.vocabulary {
		t.endsWord[id] = strings.HasSuffix(token, endOfWord)
	}
}
