// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package prompt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Names of a tokenizer's files.
const (
	VocabularyFile = "vocab.json"
	MergesFile     = "merges.txt"
	ConfigFile     = "tokenizer_config.json"
	SpecialsFile   = "special_tokens_map.json"
)

// Files are the contents of a tokenizer's files. Specials and Config may be empty.
type Files struct {
	Vocabulary, Merges, Config, Specials []byte
}

// FileError says which of the files is wrong, and where.
type FileError struct {
	// File is one of the names above.
	File string
	// Field inside it; empty where the file as a whole is at fault.
	Field   string
	Message string
}

// Error names file and field before the message.
func (e *FileError) Error() string {
	if e.Field == "" {
		return e.File + ": " + e.Message
	}
	return e.File + ": " + e.Field + ": " + e.Message
}

// Bounds on what a file may ask for; CLIP has 49408 tokens and a length of 77.
const (
	maxTokens     = 1 << 20
	maxLength     = 1 << 12
	defaultLength = 77
)

// NewTokenizer builds a tokenizer from its files. The error is a *FileError.
func NewTokenizer(files Files) (*Tokenizer, error) {
	t := &Tokenizer{}
	if err := t.readVocabulary(files.Vocabulary); err != nil {
		return nil, err
	}
	if err := t.readMerges(files.Merges); err != nil {
		return nil, err
	}
	if err := t.readSpecials(files); err != nil {
		return nil, err
	}
	return t, nil
}

// readVocabulary reads the id of each token.
func (t *Tokenizer) readVocabulary(data []byte) error {
	if err := json.Unmarshal(data, &t.vocabulary); err != nil {
		return &FileError{File: VocabularyFile, Message: "must be a JSON object of tokens and their ids: " + err.Error()}
	}
	if len(t.vocabulary) == 0 || len(t.vocabulary) > maxTokens {
		return &FileError{File: VocabularyFile, Message: fmt.Sprintf("has %d tokens; must have from 1 to %d", len(t.vocabulary), maxTokens)}
	}
	for token, id := range t.vocabulary {
		if id < 0 || id >= maxTokens {
			return &FileError{File: VocabularyFile, Field: token, Message: fmt.Sprintf("has id %d; must be from 0 to %d", id, maxTokens-1)}
		}
		t.size = max(t.size, id+1)
	}
	t.markWordEnds()
	return nil
}

// readMerges reads the pairs that are merged, the first line's first. A line that begins
// with #version is no pair.
func (t *Tokenizer) readMerges(data []byte) error {
	t.merges = map[pair]merge{}
	rank := 0
	for number, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" || strings.HasPrefix(line, "#version") {
			continue
		}
		left, right, ok := strings.Cut(line, " ")
		field := fmt.Sprintf("line %d", number+1)
		if !ok || left == "" || right == "" || strings.Contains(right, " ") {
			return &FileError{File: MergesFile, Field: field, Message: "must be two tokens with a space between them"}
		}
		var ids [3]int
		for i, token := range []string{left, right, left + right} {
			id, ok := t.vocabulary[token]
			if !ok {
				return &FileError{File: MergesFile, Field: field, Message: fmt.Sprintf("%q is not in %s", token, VocabularyFile)}
			}
			ids[i] = id
		}
		t.merges[pair{ids[0], ids[1]}] = merge{rank: rank, id: ids[2]}
		rank++
	}
	return nil
}

// token is a special token as the files write it: a string, or an object with flags.
type token struct {
	Content    string `json:"content"`
	Normalized bool   `json:"normalized"`
	SingleWord bool   `json:"single_word"`
}

// UnmarshalJSON takes either form.
func (k *token) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte(`"`)) {
		return json.Unmarshal(data, &k.Content)
	}
	type plain token
	return json.Unmarshal(data, (*plain)(k))
}

// specialTokens are the fields, of either file, that name special tokens.
type specialTokens struct {
	BOS *token `json:"bos_token"`
	EOS *token `json:"eos_token"`
	PAD *token `json:"pad_token"`
	UNK *token `json:"unk_token"`
}

// tokenizerConfig is what matters of tokenizer_config.json. Its special tokens override
// those of special_tokens_map.json.
type tokenizerConfig struct {
	specialTokens
	// MaxLength may be a float of 1e30, which stands for no limit.
	MaxLength *float64         `json:"model_max_length"`
	Added     map[string]token `json:"added_tokens_decoder"`
}

// readSpecials reads the length and the tokens that begin, end and pad a prompt.
func (t *Tokenizer) readSpecials(files Files) error {
	named := specialTokens{
		BOS: &token{Content: beginMarker}, EOS: &token{Content: endMarker},
		PAD: &token{Content: endMarker}, UNK: &token{Content: endMarker},
	}
	if err := unmarshal(SpecialsFile, files.Specials, &named); err != nil {
		return err
	}
	config := tokenizerConfig{specialTokens: named}
	if err := unmarshal(ConfigFile, files.Config, &config); err != nil {
		return err
	}
	if err := t.setLength(config.MaxLength); err != nil {
		return err
	}
	for _, s := range []struct {
		field string
		token *token
		id    *int
	}{
		{"bos_token", config.BOS, &t.bos}, {"eos_token", config.EOS, &t.eos},
		{"pad_token", config.PAD, &t.pad}, {"unk_token", config.UNK, &t.unk},
	} {
		if err := t.addSpecial(s.field, s.token, config.Added, s.id); err != nil {
			return err
		}
	}
	return nil
}

// setLength takes the number of ids that Encode gives.
func (t *Tokenizer) setLength(length *float64) error {
	t.maxLength = defaultLength
	if length == nil {
		return nil
	}
	if !(*length >= 3 && *length <= maxLength) || *length != float64(int(*length)) {
		return &FileError{File: ConfigFile, Field: "model_max_length", Message: fmt.Sprintf("is %v; must be a whole number from 3 to %d, such as 77", *length, maxLength)}
	}
	t.maxLength = int(*length)
	return nil
}

// addSpecial finds the id of a special token and has it cut out of prompts.
func (t *Tokenizer) addSpecial(field string, k *token, added map[string]token, id *int) error {
	if k == nil {
		return &FileError{File: ConfigFile, Field: field, Message: "must not be null"}
	}
	for _, a := range added {
		if a.Content == k.Content {
			k = &a
		}
	}
	if k.SingleWord {
		return &FileError{File: ConfigFile, Field: field, Message: "single_word is not supported; must be false"}
	}
	var ok bool
	if *id, ok = t.vocabulary[k.Content]; !ok {
		return &FileError{File: ConfigFile, Field: field, Message: fmt.Sprintf("%q is not in %s", k.Content, VocabularyFile)}
	}
	t.specials = append(t.specials, special{text: k.Content, id: *id, normalized: k.Normalized})
	return nil
}

// unmarshal reads a JSON file that may be missing.
func unmarshal(file string, data []byte, into any) error {
	if len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return &FileError{File: file, Message: "must be a JSON object: " + err.Error()}
	}
	return nil
}
