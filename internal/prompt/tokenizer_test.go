// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package prompt

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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

// TestTokenizersEqualTransformers compares ids with what hack/goldens/tokenizer.py wrote.
// ATELIER_TOKENIZER_GOLDENS names another folder of such files.
func TestTokenizersEqualTransformers(t *testing.T) {
	folder := os.Getenv("ATELIER_TOKENIZER_GOLDENS")
	if folder == "" {
		folder = filepath.Join(testdata, "goldens", "tokenizer")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens in %s (%v); run hack/goldens/tokenizer.py", folder, err)
	}
	for _, file := range files {
		model := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(model, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var rows [][2]json.RawMessage
			if err := json.Unmarshal(data, &rows); err != nil {
				t.Fatal(err)
			}
			if len(rows) < 1000 {
				t.Errorf("only %d strings", len(rows))
			}
			tokenizer := load(t, model)
			wrong := 0
			for _, row := range rows {
				var text string
				var want []int64
				if err := json.Unmarshal(row[0], &text); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(row[1], &want); err != nil {
					t.Fatal(err)
				}
				ids, mask, _ := tokenizer.Encode(text)
				if got := ids[:len(want)]; !slices.Equal(got, want) || len(ids) != tokenizer.MaxLength() {
					if wrong++; wrong <= 20 {
						t.Errorf("%+q: %v, want %v", text, got, want)
					}
				}
				if i := slices.Index(mask, 0); i >= 0 && i != len(want) {
					t.Errorf("%+q: the mask ends at %d, want %d", text, i, len(want))
				}
			}
			t.Logf("%d of %d differ", wrong, len(rows))
		})
	}
}
