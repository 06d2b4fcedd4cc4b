// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package prompt

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// small are the files of a tokenizer of a few tokens.
func small() Files {
	return Files{
		Vocabulary: []byte(`{"<|startoftext|>":7,"<|endoftext|>":8,"!":0,"a":1,"b":2,"a</w>":3,"b</w>":4,"ab</w>":5,"!</w>":6}`),
		Merges:     []byte("#version: 0.2\na b</w>\n"),
		Config:     []byte(`{"model_max_length":6}`),
	}
}

func TestFilesAreChecked(t *testing.T) {
	for _, c := range []struct {
		change              func(*Files)
		file, field, phrase string
	}{
		{func(f *Files) { f.Vocabulary = nil }, VocabularyFile, "", "JSON object"},
		{func(f *Files) { f.Vocabulary = []byte(`{"a":1.5}`) }, VocabularyFile, "", "JSON object"},
		{func(f *Files) { f.Vocabulary = []byte(`{"a":99999999}`) }, VocabularyFile, "a", "id 99999999"},
		{func(f *Files) { f.Merges = []byte("a\n") }, MergesFile, "line 1", "two tokens"},
		{func(f *Files) { f.Merges = []byte("\na  b\n") }, MergesFile, "line 2", "two tokens"},
		{func(f *Files) { f.Merges = []byte("b a\n") }, MergesFile, "line 1", `"ba" is not in vocab.json`},
		{func(f *Files) { f.Config = []byte(`[]`) }, ConfigFile, "", "JSON object"},
		{func(f *Files) { f.Config = []byte(`{"model_max_length":2}`) }, ConfigFile, "model_max_length", "from 3"},
		{func(f *Files) { f.Config = []byte(`{"model_max_length":76.5}`) }, ConfigFile, "model_max_length", "whole number"},
		{func(f *Files) { f.Config = []byte(`{"bos_token":"?"}`) }, ConfigFile, "bos_token", `"?" is not in vocab.json`},
		{func(f *Files) { f.Config = []byte(`{"bos_token":null}`) }, ConfigFile, "bos_token", "null"},
		{func(f *Files) { f.Config = []byte(`{"bos_token":{"content":"a","single_word":true}}`) }, ConfigFile, "bos_token", "single_word"},
		{func(f *Files) { f.Specials = []byte(`{"eos_token":5}`) }, SpecialsFile, "", "JSON object"},
	} {
		files := small()
		c.change(&files)
		_, err := NewTokenizer(files)
		var bad *FileError
		if !errors.As(err, &bad) || bad.File != c.file || bad.Field != c.field || !strings.Contains(bad.Message, c.phrase) {
			t.Errorf("got %v, want %s, %q with %q", err, c.file, c.field, c.phrase)
		}
	}
}

func TestEncodePadsAndCutsOff(t *testing.T) {
	tokenizer, err := NewTokenizer(small())
	if err != nil {
		t.Fatal(err)
	}
	if tokenizer.Size() != 9 || tokenizer.MaxLength() != 6 {
		t.Errorf("size %d, length %d", tokenizer.Size(), tokenizer.MaxLength())
	}
	for text, want := range map[string]struct {
		ids, mask []int64
		dropped   int
	}{
		"":                   {[]int64{7, 8, 8, 8, 8, 8}, []int64{1, 1, 0, 0, 0, 0}, 0},
		" AB  a ":            {[]int64{7, 5, 3, 8, 8, 8}, []int64{1, 1, 1, 1, 0, 0}, 0},
		"a b a b a b":        {[]int64{7, 3, 4, 3, 4, 8}, []int64{1, 1, 1, 1, 1, 1}, 2},
		"aa!":                {[]int64{7, 1, 3, 6, 8, 8}, []int64{1, 1, 1, 1, 1, 0}, 0},
		"c":                  {[]int64{7, 8, 8, 8, 8, 8}, []int64{1, 1, 1, 0, 0, 0}, 0},
		"a<|endoftext|>b":    {[]int64{7, 3, 8, 4, 8, 8}, []int64{1, 1, 1, 1, 1, 0}, 0},
		"a\xff\xfeb invalid": {[]int64{7, 3, 8, 8, 8, 8}, []int64{1, 1, 1, 1, 1, 1}, 8},
	} {
		ids, mask, dropped := tokenizer.Encode(text)
		if !slices.Equal(ids, want.ids) || !slices.Equal(mask, want.mask) || dropped != want.dropped {
			t.Errorf("%q: %v, %v, %d; want %+v", text, ids, mask, dropped, want)
		}
	}
}

// TestTheLeftmostOfEqualPairsIsMergedFirst needs a run of one letter.
func TestTheLeftmostOfEqualPairsIsMergedFirst(t *testing.T) {
	files := small()
	files.Vocabulary = []byte(`{"<|startoftext|>":7,"<|endoftext|>":8,"a":1,"a</w>":2,"aa":3,"aa</w>":4}`)
	files.Merges = []byte("a a\na a</w>\n")
	tokenizer, err := NewTokenizer(files)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tokenizer.Tokens("aaaa"), []int64{3, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestPaddingOfItsOwn covers Stable Diffusion 2, which pads with "!".
func TestPaddingOfItsOwn(t *testing.T) {
	files := small()
	files.Specials = []byte(`{"pad_token":"!"}`)
	tokenizer, err := NewTokenizer(files)
	if err != nil {
		t.Fatal(err)
	}
	ids, _, _ := tokenizer.Encode("a!")
	if want := []int64{7, 3, 0, 8, 0, 0}; !slices.Equal(ids, want) {
		t.Errorf("got %v, want %v", ids, want)
	}
}

// TestLongWordsAreNoAttack encodes a word of the longest prompt that a job can have.
func TestLongWordsAreNoAttack(t *testing.T) {
	tokenizer := load(t, "tiny")
	start := time.Now()
	tokenizer.Encode(strings.Repeat("ab\u4e2d", 8192))
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func FuzzEncode(f *testing.F) {
	tokenizer := load(f, "tiny")
	for _, text := range []string{"", "a red apple", "don't <|endoftext|>", "\xff\x00\u0130e\u0301", "\u0928\u092e\u0938\u094d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids, mask, dropped := tokenizer.Encode(text)
		if len(ids) != tokenizer.MaxLength() || len(mask) != len(ids) || dropped < 0 {
			t.Fatalf("%d ids, %d in the mask, %d dropped", len(ids), len(mask), dropped)
		}
		for _, id := range ids {
			if id < 0 || id >= int64(tokenizer.Size()) {
				t.Fatalf("id %d", id)
			}
		}
	})
}

func FuzzNewTokenizer(f *testing.F) {
	s := small()
	f.Add(s.Vocabulary, s.Merges, s.Config, []byte(`{"pad_token":{"content":"!","normalized":true}}`))
	f.Add([]byte(`{"a":0}`), []byte("a a"), []byte(`{"added_tokens_decoder":{"0":{"content":"a"}}}`), []byte(nil))
	f.Fuzz(func(t *testing.T, vocabulary, merges, config, specials []byte) {
		tokenizer, err := NewTokenizer(Files{Vocabulary: vocabulary, Merges: merges, Config: config, Specials: specials})
		if err != nil {
			if _, ok := errors.AsType[*FileError](err); !ok {
				t.Errorf("got %v, want a FileError", err)
			}
			return
		}
		if ids, _, _ := tokenizer.Encode("ab <|endoftext|>!"); len(ids) != tokenizer.MaxLength() {
			t.Errorf("%d ids", len(ids))
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tokenizer := load(b, "tiny")
	b.ReportAllocs()
	for b.Loop() {
		tokenizer.Encode("a highly detailed 3d emoji of a red apple, glossy, on a white background, don't blur it")
	}
}
