// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package prompt

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/atelier-dev/atelier/internal/parity"
)

const testdata = "../../test/testdata"

// load builds the tokenizer of a model in testdata.
func load(t testing.TB, model string) *Tokenizer {
	t.Helper()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(testdata, "models", model, "tokenizer", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	tokenizer, err := NewTokenizer(Files{
		Vocabulary: read(VocabularyFile), Merges: read(MergesFile), Config: read(ConfigFile), Specials: read(SpecialsFile),
	})
	if err != nil {
		t.Fatal(err)
	}
	return tokenizer
}

// golden reads one of the files that hack/goldens/tokenizer.py wrote.
// ATELIER_TOKENIZER_GOLDENS names another folder of such files.
func golden(t *testing.T, name string, into any) {
	t.Helper()
	folder := os.Getenv("ATELIER_TOKENIZER_GOLDENS")
	if folder == "" {
		folder = filepath.Join(testdata, "goldens", "tokenizer")
	}
	file, err := os.Open(filepath.Join(folder, name+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // Only read from.
	data, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(data).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// TestTokenizersEqualTransformers compares ids with transformers'.
func TestTokenizersEqualTransformers(t *testing.T) {
	var texts []string
	golden(t, "texts", &texts)
	if len(texts) < 10000 {
		t.Errorf("only %d strings", len(texts))
	}
	for _, model := range []string{"tiny", "fluent-emoji"} {
		t.Run(model, func(t *testing.T) {
			var want [][]int64
			golden(t, model, &want)
			if len(want) != len(texts) {
				t.Fatalf("ids of %d strings, where there are %d", len(want), len(texts))
			}
			tokenizer := load(t, model)
			wrong := 0
			for i, text := range texts {
				if !encodesTo(tokenizer, text, want[i]) {
					if wrong++; wrong <= 20 {
						ids, mask, _ := tokenizer.Encode(text)
						t.Errorf("%+.300q: %v, mask %v; want %v", text, ids, mask, want[i])
					}
				}
			}
			parity.About(t, "tokenizer", model)
			parity.Record(t, "of all strings", parity.Figure{Measure: parity.Exact, Worst: float64(wrong) / float64(len(texts)), Cases: len(texts)})
		})
	}
}

// encodesTo says whether a text has the ids wanted and is padded from there.
func encodesTo(tokenizer *Tokenizer, text string, want []int64) bool {
	ids, mask, _ := tokenizer.Encode(text)
	if len(ids) != tokenizer.MaxLength() || len(mask) != len(ids) || !slices.Equal(ids[:len(want)], want) {
		return false
	}
	for i, m := range mask {
		if (m == 1) != (i < len(want)) || i >= len(want) && ids[i] != int64(tokenizer.pad) {
			return false
		}
	}
	return true
}
