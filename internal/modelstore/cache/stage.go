// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
)

// parallel is how many blobs of a model are fetched at a time.
const parallel = 4

// growth is how much room is reserved at a time for what is unpacked.
const growth = 16 << 20

// maxFiles bounds the files of a model: those known have a few dozen.
const maxFiles = 1000

// stage is a model that is being put together. Its process has the exclusive lock.
type stage struct {
	*Cache
	sum      string
	remote   fetch.Remote
	progress func(done, total int64)
	total    int64
	arrived  atomic.Int64

	// own are the blobs for which room was made at first.
	own map[string]bool

	// mu is taken before the global lock, never after.
	mu sync.Mutex
	// promised is what is reserved and not stored yet, of which credit is not spoken for.
	promised, credit int64
	// unpacked is the size of all files from archives.
	unpacked int64
	files    []File
	archives []Archive
	// incoming numbers the files that are being written.
	incoming int
}

// populate fetches a model and puts it together. The caller has its exclusive lock.
func (c *Cache) populate(ctx context.Context, remote fetch.Remote, manifest fetch.Manifest, progress func(done, total int64)) error {
	sum, err := hexOf(manifest.Digest)
	if err != nil {
		return err
	}
	s := &stage{Cache: c, sum: sum, remote: remote, progress: progress, total: manifest.Size()}
	// What is there is damaged, as else it would be used.
	err = errors.Join(c.remove(sum), os.MkdirAll(s.folder(filesFolder), dirMode), os.MkdirAll(s.folder(incomingFolder), dirMode))
	defer s.discard()
	if err == nil {
		err = s.reserveBlobs(manifest.Blobs)
	}
	if err != nil {
		return full(err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, blob := range manifest.Blobs {
		group.Go(func() error { return s.add(groupCtx, blob) })
	}
	if err := group.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return full(err)
	}
	return full(s.finish(manifest))
}

// Folders of a stage.
const (
	filesFolder    = "files"
	incomingFolder = "incoming"
)

func (s *stage) folder(name string) string { return filepath.Join(s.stagingDir(s.sum), name) }

// discard takes away what is left of the stage: after finish, the reservation.
func (s *stage) discard() {
	// What can't be removed now is swept later.
	_ = os.RemoveAll(s.stagingDir(s.sum))
	_ = os.Remove(s.reservation(s.sum))
}

// reserveBlobs makes room for all blobs whose size is known and that are not there.
func (s *stage) reserveBlobs(blobs []fetch.Blob) error {
	s.own = map[string]bool{}
	var need int64
	for _, blob := range blobs {
		sum, err := hexOf(blob.Digest)
		if err != nil {
			return err
		}
		if s.own[sum] || s.has(blob) {
			continue
		}
		s.own[sum] = true
		need += max(blob.Size, 0)
	}
	return s.exclusively(func() error { return s.reserve(need) })
}

// exclusively has neither another goroutine nor another process change the cache.
func (s *stage) exclusively(do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.globalLock()
	if err != nil {
		return err
	}
	defer l.unlock()
	return do()
}

// has reports whether a blob is there. One of another size was damaged.
func (s *stage) has(blob fetch.Blob) bool {
	if blob.Archive {
		return false
	}
	info, err := os.Stat(s.blob(strings.TrimPrefix(blob.Digest, "sha256:")))
	return err == nil && info.Size() == blob.Size
}

// reserve promises n bytes more to the stage, and makes room for them.
func (s *stage) reserve(n int64) error {
	if err := s.makeRoom(n, s.own); err != nil {
		return err
	}
	return s.promise(n)
}

// promise tells other processes that n bytes more are promised to this one, or with a
// negative number that so many are stored.
func (s *stage) promise(n int64) error {
	s.promised = max(0, s.promised+n)
	return os.WriteFile(s.reservation(s.sum), []byte(strconv.FormatInt(s.promised, 10)), lockMode)
}

// grow makes room for n bytes of which nothing was known before.
func (s *stage) grow(n int64) error {
	s.mu.Lock()
	tooMuch := n > s.config.MaxModel-s.unpacked
	enough := s.credit >= n
	if !tooMuch {
		s.unpacked += n
	}
	if enough {
		s.credit -= n
	}
	s.mu.Unlock()
	if tooMuch {
		return &modelstore.ModelError{File: s.remote.String(), Message: fmt.Sprintf("takes more than %d bytes", s.config.MaxModel)}
	}
	if enough {
		return nil
	}
	return s.exclusively(func() error {
		more := max(n, growth)
		if s.reserve(more) != nil {
			more = n
			if err := s.reserve(n); err != nil {
				return err
			}
		}
		s.credit += more - n
		return nil
	})
}

// come tells that bytes have arrived, or with a negative number that they are void.
func (s *stage) come(n int64) { s.progress(s.arrived.Add(n), s.total) }

// add fetches a blob where it is not there, and puts its files into the stage.
func (s *stage) add(ctx context.Context, blob fetch.Blob) error {
	if blob.Archive {
		return s.addArchive(ctx, blob)
	}
	if err := checkPath(blob.Path); err != nil {
		return err
	}
	file := File{Path: path.Clean(blob.Path), SHA256: strings.TrimPrefix(blob.Digest, "sha256:"), SizeBytes: blob.Size}
	for {
		if linked, err := s.link(file); linked || err != nil {
			s.come(blob.Size)
			return err
		}
		partial, err := s.lockPartial(ctx, file.SHA256)
		if err != nil {
			return err
		}
		if s.has(blob) { // Another process was faster.
			err := os.Remove(partial.file.Name())
			partial.unlock()
			if err != nil {
				return err
			}
			continue
		}
		err = s.download(ctx, partial, blob)
		if err == nil {
			err = s.keep(partial.file.Name(), file)
		}
		partial.unlock()
		return err
	}
}

// addArchive unpacks a blob, unless another model has its files already.
func (s *stage) addArchive(ctx context.Context, blob fetch.Blob) error {
	if done, err := s.reuse(blob); done || err != nil {
		s.come(max(blob.Size, 0))
		return err
	}
	partial, err := s.lockPartial(ctx, strings.TrimPrefix(blob.Digest, "sha256:"))
	if err != nil {
		return err
	}
	defer partial.unlock()
	if err := s.download(ctx, partial, blob); err != nil {
		return err
	}
	files, err := s.unpack(ctx, partial.file)
	// Good or bad, it has done its service.
	if err := errors.Join(err, os.Remove(partial.file.Name())); err != nil {
		return err
	}
	return s.exclusively(func() error {
		s.archives = append(s.archives, Archive{Digest: blob.Digest, Files: files})
		return s.promise(-max(blob.Size, 0))
	})
}

// reuse takes the files of an archive from another model that has them.
func (s *stage) reuse(blob fetch.Blob) (bool, error) {
	models, err := names(s.path("models"))
	if err != nil {
		return false, err
	}
	for _, sum := range models {
		record, err := s.readRecord(sum)
		if err != nil {
			continue // It went, or is damaged: it is no use.
		}
		at := slices.IndexFunc(record.Archives, func(a Archive) bool { return a.Digest == blob.Digest })
		if at < 0 {
			continue
		}
		return s.linkArchive(record.Archives[at], blob.Size)
	}
	return false, nil
}

// linkArchive puts the files of an archive into the stage, if they are all still there.
func (s *stage) linkArchive(archive Archive, size int64) (linked bool, err error) {
	err = s.exclusively(func() error {
		for _, file := range archive.Files {
			if there, err := s.there(file); !there || err != nil {
				return err
			}
		}
		linked = true
		for _, file := range archive.Files {
			if err := s.place(file); err != nil {
				return err
			}
		}
		s.archives = append(s.archives, archive)
		return s.promise(-max(size, 0))
	})
	return linked, err
}

// link puts a file that is there into the stage, where it is safe from being thrown away.
func (s *stage) link(file File) (linked bool, err error) {
	err = s.exclusively(func() (err error) {
		if linked, err = s.there(file); linked && err == nil {
			err = s.place(file)
		}
		return err
	})
	return linked, err
}

// there reports whether the cache has a file. One of another size was damaged, and is
// removed: a model that has it keeps it under its own name.
func (s *stage) there(file File) (bool, error) {
	info, err := os.Stat(s.blob(file.SHA256))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case info.Size() != file.SizeBytes:
		return false, os.Remove(s.blob(file.SHA256))
	}
	return true, nil
}

// place links a blob to its path in the stage. The caller has the locks.
func (s *stage) place(file File) error {
	target := filepath.Join(s.folder(filesFolder), filepath.FromSlash(file.Path))
	if err := os.MkdirAll(filepath.Dir(target), dirMode); err != nil {
		return misplaced(file.Path, err)
	}
	if err := os.Link(s.blob(file.SHA256), target); err != nil {
		return misplaced(file.Path, err)
	}
	if s.files = append(s.files, file); len(s.files) > maxFiles {
		return &modelstore.ModelError{File: s.remote.String(), Message: fmt.Sprintf("has more than %d files", maxFiles)}
	}
	return nil
}

// misplaced blames the model where two of its files can't be beside each other.
func misplaced(name string, err error) error {
	if errors.Is(err, fs.ErrExist) || strings.Contains(err.Error(), "not a directory") {
		return &modelstore.ModelError{File: name, Message: "is there twice, or as a file and as a directory", Err: err}
	}
	return fmt.Errorf("model cache: %w; its file system must have hard links", err)
}

// keep makes a verified file one of the cache's and puts it into the stage.
func (s *stage) keep(name string, file File) error {
	if err := os.Chmod(name, fileMode); err != nil {
		return err
	}
	return s.exclusively(func() error {
		there, err := s.there(file)
		if err != nil {
			return err
		}
		if there {
			err = os.Remove(name)
		} else {
			err = os.Rename(name, s.blob(file.SHA256))
		}
		if err != nil {
			return err
		}
		return errors.Join(s.place(file), s.promise(-file.SizeBytes))
	})
}

// finish makes a model of the stage, in one rename.
func (s *stage) finish(manifest fetch.Manifest) error {
	top, err := s.top()
	if err != nil {
		return err
	}
	record := Record{Digest: manifest.Digest, Source: s.remote.String(), Fetched: time.Now().UTC().Truncate(time.Second), Archives: s.archives}
	for _, file := range s.files {
		file.Path = strings.TrimPrefix(file.Path, top)
		record.Files = append(record.Files, file)
	}
	slices.SortFunc(record.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error {
			return os.Rename(filepath.Join(s.folder(filesFolder), filepath.FromSlash(top)), s.folder(modelFolder))
		},
		func() error {
			return errors.Join(os.RemoveAll(s.folder(filesFolder)), os.RemoveAll(s.folder(incomingFolder)))
		},
		func() error { return writeSynced(s.folder(recordName), data) },
		func() error { return syncDir(s.blobs()) },
		func() error { return syncTree(s.stagingDir(s.sum)) },
		func() error { return os.Rename(s.stagingDir(s.sum), s.modelDir(s.sum)) },
		func() error { return syncDir(s.path("models")) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("model cache: %w", err)
		}
	}
	return nil
}

// top finds the folder that holds model_index.json: the top, or the only folder there,
// as an archive of a directory has. It is "" or ends with a slash.
func (s *stage) top() (string, error) {
	has := func(name string) bool {
		return slices.ContainsFunc(s.files, func(f File) bool { return f.Path == name })
	}
	if has(modelstore.IndexFile) {
		return "", nil
	}
	if len(s.files) > 0 {
		folder, _, inside := strings.Cut(s.files[0].Path, "/")
		alone := !slices.ContainsFunc(s.files, func(f File) bool { return !strings.HasPrefix(f.Path, folder+"/") })
		if inside && alone && has(folder+"/"+modelstore.IndexFile) {
			return folder + "/", nil
		}
	}
	return "", &modelstore.ModelError{File: modelstore.IndexFile, Message: "is missing at the top of " + s.remote.String()}
}

// writeSynced writes a file and waits until the disk has it.
func writeSynced(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncTree has the disk know the names of all files in a directory.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return syncDir(name)
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
