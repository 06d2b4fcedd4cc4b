// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTokenizerInOneFile puts vocabulary and merges into tokenizer.json, with merges in
// both forms that there are, and wants the same ids.
func TestTokenizerInOneFile(t *testing.T) {
	p, _ := loadFake(t)
	for name, merge := range map[string]func(left, right string) any{
		"pairs":   func(left, right string) any { return []string{left, right} },
		"strings": func(left, right string) any { return left + " " + right },
	} {
		model := copyModel(t)
		folder := filepath.Join(model.Dir, "tokenizer")
		vocabulary, err := os.ReadFile(filepath.Join(folder, "vocab.json"))
		if err != nil {
			t.Fatal(err)
		}
		lines, err := os.ReadFile(filepath.Join(folder, "merges.txt"))
		if err != nil {
			t.Fatal(err)
		}
		merges := []any{}
		for line := range strings.Lines(string(lines)) {
			if left, right, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(line, "#") {
				merges = append(merges, merge(left, right))
			}
		}
		whole, err := json.Marshal(map[string]any{"model": map[string]any{"type": "BPE", "vocab": json.RawMessage(vocabulary), "merges": merges}})
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(folder, "tokenizer.json"), whole)
		remove(t, filepath.Join(folder, "vocab.json"))
		remove(t, filepath.Join(folder, "merges.txt"))
		other := New(&fakeRuntime{})
		if err := other.Load(t.Context(), model); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		const text = "A photo of the red cat, and 12 blurry apples"
		want, _, _ := p.current().tokenizer.Encode(text)
		if got, _, _ := other.current().tokenizer.Encode(text); len(merges) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: %d merges give %v, want %v", name, len(merges), got, want)
		}
	}
}

func TestTokenizerInOneFileMustBeOne(t *testing.T) {
	for _, whole := range []string{`{}`, `[]`, `{"model":{"type":"WordPiece","vocab":{"a":1}}}`, `{"model":{"type":"BPE","vocab":{"a":1},"merges":[5]}}`} {
		model := copyModel(t)
		put(t, filepath.Join(model.Dir, "tokenizer", "tokenizer.json"), []byte(whole))
		remove(t, filepath.Join(model.Dir, "tokenizer", "vocab.json"))
		err := New(&fakeRuntime{}).Load(t.Context(), model)
		if err == nil || !strings.Contains(err.Error(), "tokenizer/tokenizer.json: must hold a model of type BPE") {
			t.Errorf("%s gives %v", whole, err)
		}
	}
}
