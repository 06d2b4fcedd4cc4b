// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// secret are the credentials of a store by their names, which are the keys of a Secret.
type secret map[string]string

// readSecret reads the directory that a Secret is mounted at. Keys that it does not have
// are left out.
func readSecret(dir string, keys []string) (secret, error) {
	s := secret{}
	for _, key := range keys {
		data, err := os.ReadFile(filepath.Join(dir, key))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the key %s of the Secret with the store's credentials: %w", key, err)
		}
		if value := strings.TrimSpace(string(data)); value != "" {
			s[key] = value
		}
	}
	return s, nil
}

// need returns an error where the Secret lacks a key.
func (s secret) need(keys ...string) error {
	for _, key := range keys {
		if s[key] == "" {
			return fmt.Errorf("the Secret with the store's credentials must be there and have the key %s", key)
		}
	}
	return nil
}
