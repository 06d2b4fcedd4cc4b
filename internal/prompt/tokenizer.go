// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package prompt turns prompts into token ids as the Python libraries do.
package prompt

// Tokenizer is CLIP's byte-pair encoding, as the CLIPTokenizer of transformers 5 computes
// it from the same files. That one, the only one there is since version 5 and the one
// that diffusers 0.42 takes, runs the Rust library tokenizers; it gave the ids that are
// compared. Up to version 4 diffusers' pipelines took one written in Python. On printable
// ASCII it gives the same ids, but for <|ENDOFTEXT|> and the like (compared with 4.57.6).
// Beyond, it mends text with ftfy where that is installed, and otherwise leaves out
// control characters, sets Chinese characters apart, and ends Greek words with ς.
//
// Bytes that are no UTF-8 count as one U+FFFD for each run of them; Python's strings
// have none. It is safe for concurrent use.
type Tokenizer struct {
	vocabulary map[string]int
	merges     map[pair]merge
	// specials are tokens that are cut out of the text before anything else.
	specials  []special
	bos, eos  int
	pad, unk  int
	maxLength int
	size      int
	// endsWord says of each id whether its token ends a word.
	endsWord []bool
}

// special is a token that stands for itself wherever it is written in a prompt.
type special struct {
	text string
	id   int
	// normalized tokens are looked for after the text was normalized, others before.
	normalized bool
}

// MaxLength is how many ids Encode gives: what the text encoder was trained with.
func (t *Tokenizer) MaxLength() int { return t.maxLength }

// Size is one more than the largest id: what the text encoder must know.
func (t *Tokenizer) Size() int { return t.size }

// Encode gives the ids of a prompt for the text encoder: begin, the prompt's tokens, as
// many as fit, end, and padding up to MaxLength. The mask has a 1 for each id that is
// not padding. Dropped is how many tokens did not fit.
func (t *Tokenizer) Encode(text string) (ids, mask []int64, dropped int) {
	tokens := t.Tokens(text)
	dropped = max(len(tokens)-(t.maxLength-2), 0)
	ids, mask = t.Frame(tokens[:len(tokens)-dropped])
	return ids, mask, dropped
}

// Frame gives the ids of one of Chunks for the text encoder, as Encode does.
func (t *Tokenizer) Frame(tokens []int64) (ids, mask []int64) {
	ids = make([]int64, 0, t.maxLength)
	ids = append(ids, int64(t.bos))
	ids = append(ids, tokens...)
	ids = append(ids, int64(t.eos))
	mask = make([]int64, t.maxLength)
	for i := range ids {
		mask[i] = 1
	}
	for len(ids) < t.maxLength {
		ids = append(ids, int64(t.pad))
	}
	return ids, mask
}

// Tokens gives the ids of a text alone, without begin, end and padding.
func (t *Tokenizer) Tokens(text string) []int64 {
	var ids []int64
	t.split(text, false, func(raw string) {
		t.split(normalize(raw), true, func(normal string) {
			words(normal, func(word string) {
				ids = t.encodeWord(ids, word)
			})
		}, &ids)
	}, &ids)
	return ids
}

// split cuts special tokens out of the text, the leftmost first and of several there the
// longest, appends their ids, and calls rest for what is between them.
func (t *Tokenizer) split(text string, normalized bool, rest func(string), ids *[]int64) {
	start := 0
	for i := 0; i < len(text); {
		found, ok := t.specialAt(text[i:], normalized)
		if !ok {
			i++
			continue
		}
		rest(text[start:i])
		*ids = append(*ids, int64(found.id))
		i += len(found.text)
		start = i
	}
	rest(text[start:])
}

// specialAt finds the longest special token that the text begins with.
func (t *Tokenizer) specialAt(text string, normalized bool) (special, bool) {
	var found special
	for _, s := range t.specials {
		if s.normalized == normalized && len(s.text) > len(found.text) && len(text) >= len(s.text) && text[:len(s.text)] == s.text {
			found = s
		}
	}
	return found, found.text != ""
}
