// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/artifact"
)

const (
	// spoolFolder is beside the folders of namespaces, of which none begins with a dot.
	spoolFolder = ".unsaved"
	// spoolRecord is the file of a set that is written last.
	spoolRecord = "record.json"
	// spoolAge is how long a set is kept that nobody came back for: the runner does not see
	// whether its job is still there.
	spoolAge = 24 * time.Hour
	// spoolBytes is what all sets may take.
	spoolBytes int64 = 1 << 30
)

// spool is the outputs volume as the place where pictures are kept whose store can't be
// written to. A job has one set of them:
//
//	.unsaved/UID/0            a picture, as it is to be written
//	.unsaved/UID/record.json  what they were drawn from, and their digests
//
// A process may end at any moment: each file is there whole or not at all, a set without a
// record is not used, and neither is one with other bytes than the record says.
type spool string

// setRecord says what a set consists of.
type setRecord struct {
	// Key stands for all that the pictures' bytes follow from.
	Key string `json:"key"`
	// Outputs are the pictures, by their paths in the set.
	Outputs []v1alpha1.Output `json:"outputs"`
}

// setOf is the folder of a job's set.
func setOf(uid types.UID) string { return path.Join(spoolFolder, string(uid)) }

// keep puts a job's pictures into the spool, all or none. A set that is there already with
// that key counts as used now.
func (s spool) keep(uid types.UID, key string, pictures []finished) error {
	if known, err := s.record(uid); err == nil && known.Key == key {
		return s.within(func(root *os.Root) error { now := time.Now(); return root.Chtimes(setOf(uid), now, now) })
	}
	err := s.drop(uid)
	if err == nil {
		err = s.write(uid, key, pictures)
	}
	if err != nil {
		return errors.Join(err, s.drop(uid))
	}
	return nil
}

// write writes a set that is not there.
func (s spool) write(uid types.UID, key string, pictures []finished) error {
	r := setRecord{Key: key}
	for _, picture := range pictures {
		data, err := picture.file()
		if err != nil {
			return err
		}
		output := picture.output
		output.Path = fmt.Sprint(output.Index)
		file, err := artifact.Save(string(s), path.Join(setOf(uid), output.Path), data)
		if err != nil {
			return err
		}
		output.SHA256, output.SizeBytes = file.SHA256, file.SizeBytes
		r.Outputs = append(r.Outputs, output)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = artifact.Save(string(s), path.Join(setOf(uid), spoolRecord), data)
	return err
}

// find gives the pictures of a job's set; nil where there is none that is whole and has that
// key. Each was read and compared with its digest: the error says that the set is damaged.
func (s spool) find(uid types.UID, key string) ([]finished, error) {
	r, err := s.record(uid)
	if errors.Is(err, fs.ErrNotExist) || err == nil && r.Key != key {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	pictures := make([]finished, len(r.Outputs))
	for i, output := range r.Outputs {
		pictures[i] = finished{output: output, file: func() ([]byte, error) { return s.read(uid, output) }}
		if _, err := pictures[i].file(); err != nil {
			return nil, err
		}
	}
	return pictures, nil
}

// read gives the bytes of a picture of a set.
func (s spool) read(uid types.UID, output v1alpha1.Output) (data []byte, err error) {
	name := path.Join(setOf(uid), output.Path)
	err = s.within(func(root *os.Root) error {
		data, err = root.ReadFile(name)
		return err
	})
	if sum := sha256.Sum256(data); err == nil && hex.EncodeToString(sum[:]) != output.SHA256 {
		err = fmt.Errorf("%s: has other bytes than were kept", name)
	}
	return data, err
}

// record reads the record of a job's set.
func (s spool) record(uid types.UID) (r setRecord, err error) {
	err = s.within(func(root *os.Root) error {
		data, err := root.ReadFile(path.Join(setOf(uid), spoolRecord))
		if err != nil {
			return err
		}
		return json.Unmarshal(data, &r)
	})
	return r, err
}

// drop removes a job's set, if there is one.
func (s spool) drop(uid types.UID) error {
	return s.within(func(root *os.Root) error { return root.RemoveAll(setOf(uid)) })
}

// tidy removes the sets that are too old or too much.
func (s spool) tidy(now time.Time) error {
	return s.within(func(root *os.Root) error {
		sets, err := listSets(root)
		for _, name := range surplus(sets, now) {
			err = errors.Join(err, root.RemoveAll(path.Join(spoolFolder, name)))
		}
		return err
	})
}

// within does something on the volume, which no link leads out of.
func (s spool) within(do func(root *os.Root) error) error {
	root, err := os.OpenRoot(string(s))
	if err != nil {
		return fmt.Errorf("outputs directory: %w", err)
	}
	defer func() { _ = root.Close() }() // Nothing is written through it.
	return do(root)
}

// pictureSet is a set of the spool, whole or not.
type pictureSet struct {
	name string
	// used is when it was last put there or found.
	used  time.Time
	bytes int64
}

// listSets gives all sets. Those that go meanwhile, as other runners have the volume too,
// are left out.
func listSets(root *os.Root) ([]pictureSet, error) {
	folders, err := fs.ReadDir(root.FS(), spoolFolder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var sets []pictureSet
	for _, folder := range folders {
		info, err := folder.Info()
		if err != nil {
			continue
		}
		set := pictureSet{name: folder.Name(), used: info.ModTime()}
		files, _ := fs.ReadDir(root.FS(), path.Join(spoolFolder, folder.Name())) // As far as it is there.
		for _, file := range files {
			if info, err := file.Info(); err == nil {
				set.bytes += info.Size()
			}
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// surplus names the sets that have to go: those that nobody used for too long, and of the
// others the longest unused, until what stays is not too much.
func surplus(sets []pictureSet, now time.Time) []string {
	sets = slices.Clone(sets)
	slices.SortFunc(sets, func(a, b pictureSet) int {
		return cmp.Or(b.used.Compare(a.used), cmp.Compare(a.name, b.name))
	})
	var names []string
	var total int64
	for _, set := range sets {
		total += set.bytes
		if now.Sub(set.used) > spoolAge || total > spoolBytes {
			names = append(names, set.name)
		}
	}
	return names
}
