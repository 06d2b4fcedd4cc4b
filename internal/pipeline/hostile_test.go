// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/atelier-dev/atelier/internal/ort"
)

// hostileVariable is the environment variable with the number of mutations to try.
const hostileVariable = "ATELIER_MUTATIONS"

// mutations is how many damaged models TestMutatedModels tries.
func mutations(t *testing.T) int {
	t.Helper()
	text := os.Getenv(hostileVariable)
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q; must be a positive number", hostileVariable, text)
	}
	return n
}

// TestMutatedModels damages files of the model at random. Each model must load, or be
// refused with an error that names one of its files; nothing may end the process.
func TestMutatedModels(t *testing.T) {
	model := copyModel(t)
	whole := modelFiles(t, model)
	p := New(ort.New(ort.Options{Device: ort.CPU, Threads: 1}))
	loaded, refused := 0, 0
	for seed := range mutations(t) {
		random := rand.New(rand.NewPCG(uint64(seed), 1)) //nolint:gosec // Damage that can be repeated, no secret.
		name := whole.names[random.IntN(len(whole.names))]
		kind, data := mutate(random, whole, name)
		file := filepath.Join(model.Dir, name)
		put(t, file, data)
		model.Generation = int64(seed) + 1
		if problem := errors.Join(Inspect(model.Dir).Problems...); problem != nil {
			wantModelError(t, problem, "Inspect", seed, kind, name)
		}
		err := p.Load(t.Context(), model)
		if err != nil {
			refused++
			wantModelError(t, err, "Load", seed, kind, name)
		} else {
			loaded++
		}
		if err := p.Unload(); err != nil {
			t.Fatal(err)
		}
		put(t, file, whole.data[name])
	}
	t.Logf("%d loaded, %d were refused", loaded, refused)
	if loaded == 0 || refused == 0 {
		t.Error("the mutations are all harmless or all fatal, so this shows nothing")
	}
}

func wantModelError(t *testing.T, err error, from string, seed int, kind, name string) {
	t.Helper()
	var defect *ModelError
	if !errors.As(err, &defect) || defect.File == "" || defect.Message == "" {
		t.Errorf("mutation %d (%s of %s): %s gives %v, want a ModelError", seed, kind, name, from, err)
	}
}

// files are the files of a model.
type files struct {
	names []string
	data  map[string][]byte
}

// modelFiles reads every file of a model that loading looks at.
func modelFiles(t testing.TB, model Model) files {
	t.Helper()
	found := files{data: map[string][]byte{}}
	dir := os.DirFS(model.Dir)
	err := fs.WalkDir(dir, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || name == "README.md" {
			return err
		}
		found.names = append(found.names, name)
		found.data[name], err = fs.ReadFile(dir, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// number finds numbers in a JSON file.
var number = regexp.MustCompile(`-?[0-9]+(\.[0-9]+)?`)

// absurd are values that take the place of a number in a JSON file.
var absurd = []string{"-1", "0", "1e30", "1e999", "9223372036854775807", "0.5", "null", `"x"`, "[]", "{}", "true", "NaN"}

// mutate damages one file and says how.
func mutate(random *rand.Rand, whole files, name string) (kind string, damaged []byte) {
	data := bytes.Clone(whole.data[name])
	switch random.IntN(5) {
	case 0:
		return "truncation", data[:random.IntN(len(data))]
	case 1:
		return "other file in place", whole.data[whole.names[random.IntN(len(whole.names))]]
	case 2:
		if places := number.FindAllIndex(data, -1); filepath.Ext(name) == ".json" && len(places) > 0 {
			place := places[random.IntN(len(places))]
			value := absurd[random.IntN(len(absurd))]
			return "number made " + value, append(data[:place[0]:place[0]], append([]byte(value), data[place[1]:]...)...)
		}
		// Structure is denser at the ends of a graph than in the weights between.
		at := random.IntN(min(len(data), 4096))
		data[len(data)-1-at] ^= 1 << random.IntN(8)
		return "flipped bit near the end", data
	case 3:
		at := random.IntN(len(data))
		end := min(len(data), at+1+random.IntN(64))
		for i := at; i < end; i++ {
			data[i] = byte(random.Uint32())
		}
		return "run of random bytes", data
	}
	for range 1 + random.IntN(8) {
		data[random.IntN(len(data))] ^= 1 << random.IntN(8)
	}
	return "flipped bits", data
}
