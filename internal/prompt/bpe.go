// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package prompt

import "container/heap"

// endOfWord marks the last symbol of a word in the vocabulary.
const endOfWord = "</w>"

// alphabet gives each byte a printable character, as GPT-2 does: the printable ones of
// Latin-1 stand for themselves, and the others are counted up from U+0100.
var alphabet = func() (table [256]string) {
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		printable := '!' <= r && r <= '~' || '¡' <= r && r <= '¬' || '®' <= r
		if !printable {
			r = next
			next++
		}
		table[b] = string(r)
	}
	return table
}()

// pair is two adjacent symbols.
type pair struct{ left, right int }

// merge says what a pair becomes; the pair with the lowest rank goes first.
type merge struct{ rank, id int }

// symbol is one token of a word that is being encoded, in a list with its neighbours.
type symbol struct {
	id             int
	previous, next int
	gone           bool
}

// candidate is a pair of neighbours that can be merged.
type candidate struct {
	merge
	at   int
	pair pair
}

// queue has the candidate with the lowest rank first, the leftmost among equals.
type queue []candidate

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].rank < q[j].rank || q[i].rank == q[j].rank && q[i].at < q[j].at
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for container/heap.
func (q *queue) Push(x any) { *q = append(*q, x.(candidate)) }

// Pop is for container/heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// encodeWord appends the ids of one word.
func (t *Tokenizer) encodeWord(ids []int64, word string) []int64 {
	symbols := t.symbols(word)
	pending := &queue{}
	for i := range symbols {
		t.consider(pending, symbols, i)
	}
	for pending.Len() > 0 {
		c := heap.Pop(pending).(candidate)
		left := &symbols[c.at]
		if left.gone || left.next < 0 || (pair{left.id, symbols[left.next].id}) != c.pair {
			continue // One of the two was merged with another neighbour since.
		}
		right := &symbols[left.next]
		right.gone = true
		left.id, left.next = c.id, right.next
		if left.next >= 0 {
			symbols[left.next].previous = c.at
		}
		t.consider(pending, symbols, c.at)
		if left.previous >= 0 {
			t.consider(pending, symbols, left.previous)
		}
	}
	for _, s := range symbols {
		if !s.gone {
			ids = append(ids, int64(s.id))
		}
	}
	return ids
}

// symbols begins with one symbol a byte; a byte that the vocabulary lacks is unknown.
func (t *Tokenizer) symbols(word string) []symbol {
	symbols := make([]symbol, len(word))
	for i := range len(word) {
		text := alphabet[word[i]]
		next := i + 1
		if next == len(word) {
			text += endOfWord
			next = -1
		}
		id, ok := t.vocabulary[text]
		if !ok {
			id = t.unk
		}
		symbols[i] = symbol{id: id, previous: i - 1, next: next}
	}
	return symbols
}

// consider queues the pair that begins at a symbol, if it can be merged.
func (t *Tokenizer) consider(pending *queue, symbols []symbol, at int) {
	if symbols[at].next < 0 {
		return
	}
	p := pair{symbols[at].id, symbols[symbols[at].next].id}
	if m, ok := t.merges[p]; ok {
		heap.Push(pending, candidate{merge: m, at: at, pair: p})
	}
}
