// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/prompt"
)

// wholeFile holds vocabulary and merges in one. Since version 5 transformers writes it in
// place of the two.
const wholeFile = "tokenizer.json"

// readTokenizer reads a tokenizer's folder.
func readTokenizer(dir *modelstore.Directory, folder string) (*prompt.Tokenizer, error) {
	var files prompt.Files
	for _, f := range []struct {
		name string
		read func(string) ([]byte, error)
		into *[]byte
	}{
		{prompt.VocabularyFile, dir.Read, &files.Vocabulary},
		{prompt.MergesFile, dir.Read, &files.Merges},
		{prompt.ConfigFile, dir.ReadOptional, &files.Config},
		{prompt.SpecialsFile, dir.ReadOptional, &files.Specials},
	} {
		var err error
		*f.into, err = f.read(modelstore.TokenizerFile(folder, f.name))
		if f.name == prompt.VocabularyFile && errors.Is(err, fs.ErrNotExist) {
			return readWholeTokenizer(dir, folder, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return newTokenizer(folder, files)
}

// readWholeTokenizer reads a folder with one file for vocabulary and merges; missing is
// the error where there is none.
func readWholeTokenizer(dir *modelstore.Directory, folder string, missing error) (*prompt.Tokenizer, error) {
	name := modelstore.TokenizerFile(folder, wholeFile)
	data, err := dir.ReadOptional(name)
	switch {
	case err != nil:
		return nil, err
	case data == nil:
		return nil, missing
	}
	var files prompt.Files
	if files.Vocabulary, files.Merges, err = splitTokenizer(data); err != nil {
		return nil, &ModelError{File: name, Message: "must hold a model of type BPE with vocab and merges: " + err.Error(), Err: err}
	}
	if files.Config, err = dir.ReadOptional(modelstore.TokenizerFile(folder, prompt.ConfigFile)); err != nil {
		return nil, err
	}
	if files.Specials, err = dir.ReadOptional(modelstore.TokenizerFile(folder, prompt.SpecialsFile)); err != nil {
		return nil, err
	}
	return newTokenizer(folder, files)
}

// splitTokenizer gives vocabulary and merges as files of their own hold them.
func splitTokenizer(data []byte) (vocabulary, merges []byte, err error) {
	var file struct {
		Model struct {
			Type       string            `json:"type"`
			Vocabulary json.RawMessage   `json:"vocab"`
			Merges     []json.RawMessage `json:"merges"`
		} `json:"model"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, nil, err
	}
	if file.Model.Type != "BPE" || file.Model.Vocabulary == nil {
		return nil, nil, errors.New("there is none")
	}
	var lines bytes.Buffer
	for _, raw := range file.Model.Merges {
		var pair [2]string
		line := ""
		if json.Unmarshal(raw, &line) != nil { // Older files have one string for both.
			if err := json.Unmarshal(raw, &pair); err != nil {
				return nil, nil, err
			}
			line = pair[0] + " " + pair[1]
		}
		lines.WriteString(line + "\n")
	}
	return file.Model.Vocabulary, lines.Bytes(), nil
}

// newTokenizer builds a tokenizer of what its folder holds.
func newTokenizer(folder string, files prompt.Files) (*prompt.Tokenizer, error) {
	tokenizer, err := prompt.NewTokenizer(files)
	if bad, ok := errors.AsType[*prompt.FileError](err); ok {
		return nil, &ModelError{File: modelstore.TokenizerFile(folder, bad.File), Field: bad.Field, Message: bad.Message, Err: err}
	}
	return tokenizer, err
}
