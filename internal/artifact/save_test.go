// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestSave(t *testing.T) {
	dir := t.TempDir()
	for _, data := range []string{"first", "second", "second"} {
		file, err := Save(dir, "album/cats/0.png", []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(data))
		if want := (File{"album/cats/0.png", hex.EncodeToString(sum[:]), int64(len(data))}); file != want {
			t.Errorf("got %+v, want %+v", file, want)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "album", "cats", "0.png")); err != nil || string(got) != data {
			t.Errorf("the file holds %q (%v), want %q", got, err, data)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "album", "cats"))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v), want one file", entries, err)
	}
}

// TestSaveStaysInside tries to write elsewhere.
func TestSaveStaysInside(t *testing.T) {
	outside := t.TempDir()
	dir := filepath.Join(t.TempDir(), "outputs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(outside, "target")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"folder": outside, "up": "..", "file.png": target} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"../0.png", "a/../../0.png", "folder/0.png", "up/0.png", "/0.png", filepath.Join(outside, "0.png"), "", "."} {
		if file, err := Save(dir, name, []byte("x")); err == nil {
			t.Errorf("%q was saved as %+v", name, file)
		}
	}
	// A link in the place of the file is replaced, not followed.
	if _, err := Save(dir, "file.png", []byte("x")); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "precious" {
		t.Errorf("the file outside holds %q (%v)", got, err)
	}
	for _, folder := range []string{outside, filepath.Dir(dir)} {
		if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
			t.Errorf("%s holds %v (%v)", folder, entries, err)
		}
	}
}

func TestSaveSaysWhatIsMissing(t *testing.T) {
	_, err := Save(filepath.Join(t.TempDir(), "nothing"), "0.png", nil)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "outputs directory") {
		t.Errorf("got %v", err)
	}
}

// TestSaveAtOnce lets writers of different lengths race; the file must be one of theirs.
func TestSaveAtOnce(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	for k := range 8 {
		group.Go(func() {
			for range 10 {
				if _, err := Save(dir, "a/0.png", bytes.Repeat([]byte{byte('0' + k)}, 1000*(k+1))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	data, err := os.ReadFile(filepath.Join(dir, "a", "0.png"))
	if err != nil {
		t.Fatal(err)
	}
	k := int(data[0] - '0')
	if want := bytes.Repeat(data[:1], 1000*(k+1)); !bytes.Equal(data, want) {
		t.Error("the file mixes two writers")
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "a")); len(entries) != 1 {
		t.Errorf("%v are left", entries)
	}
}
