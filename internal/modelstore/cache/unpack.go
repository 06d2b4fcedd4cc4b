// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/atelier-dev/atelier/internal/modelstore"
)

// maxEntries bounds the files and directories of an archive.
const maxEntries = 2 * maxFiles

// maxPath bounds the length of a path in a model.
const maxPath = 1024

// zstdWindow bounds the memory that unpacking takes.
const zstdWindow = 128 << 20

// checkPath refuses paths that lead out of the model directory or are none.
func checkPath(name string) error {
	switch {
	case len(name) > maxPath:
		return &modelstore.ModelError{File: name[:maxPath], Message: fmt.Sprintf("is a path of %d bytes; at most %d are taken", len(name), maxPath)}
	case !utf8.ValidString(name):
		return &modelstore.ModelError{File: strings.ToValidUTF8(name, "?"), Message: "is no path: it is not UTF-8"}
	case !filepath.IsLocal(name) || strings.ContainsAny(name, "\\\x00") || path.Clean(name) == ".":
		return &modelstore.ModelError{File: name, Message: "is no path inside the model directory"}
	}
	return nil
}

// unpack puts the files of an archive into the stage.
func (s *stage) unpack(ctx context.Context, archive *os.File) ([]File, error) {
	start := make([]byte, 4)
	n, err := archive.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	switch r := bufio.NewReaderSize(archive, 1<<20); {
	case bytes.HasPrefix(start[:n], []byte("PK\x03\x04")):
		return s.unpackZip(ctx, archive)
	case bytes.HasPrefix(start[:n], []byte{0x1f, 0x8b}):
		unzipped, err := gzip.NewReader(r)
		if err != nil {
			return nil, s.damaged(err)
		}
		return s.unpackTar(ctx, unzipped)
	case bytes.HasPrefix(start[:n], []byte{0x28, 0xb5, 0x2f, 0xfd}):
		unzipped, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, s.damaged(err)
		}
		defer unzipped.Close()
		return s.unpackTar(ctx, unzipped)
	default:
		return s.unpackTar(ctx, r)
	}
}

// damaged is said of an archive that can't be read though its digest is right.
func (s *stage) damaged(err error) error {
	return &modelstore.ModelError{File: s.remote.String(), Message: "can't be unpacked: " + err.Error(), Err: err}
}

// unpackTar takes the regular files of a tar stream. Links and devices are refused: a
// model has no use for them, and a link can lead anywhere.
func (s *stage) unpackTar(ctx context.Context, r io.Reader) ([]File, error) {
	var files []File
	archive := tar.NewReader(r)
	for range maxEntries {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, s.damaged(err)
		}
		switch header.Typeflag {
		case tar.TypeDir, tar.TypeXGlobalHeader:
			continue
		case tar.TypeReg:
		default:
			message := fmt.Sprintf("is a link or a device (type %q) in the archive; only files and directories are taken", header.Typeflag)
			return nil, &modelstore.ModelError{File: header.Name, Message: message}
		}
		file, err := s.unpackFile(ctx, header.Name, header.Size, archive)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return nil, &modelstore.ModelError{File: s.remote.String(), Message: fmt.Sprintf("has more than %d files and directories", maxEntries)}
}

// unpackZip takes the regular files of a zip file.
func (s *stage) unpackZip(ctx context.Context, archive *os.File) ([]File, error) {
	info, err := archive.Stat()
	if err != nil {
		return nil, err
	}
	z, err := zip.NewReader(archive, info.Size())
	if err != nil {
		return nil, s.damaged(err)
	}
	var files []File
	for _, entry := range z.File {
		if entry.FileInfo().IsDir() {
			continue
		}
		if mode := entry.Mode(); !mode.IsRegular() {
			return nil, &modelstore.ModelError{File: entry.Name, Message: fmt.Sprintf("is a link or a device (%v) in the archive; only files and directories are taken", mode.Type())}
		}
		file, err := s.unzip(ctx, entry)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// unzip takes one file of a zip file.
func (s *stage) unzip(ctx context.Context, entry *zip.File) (File, error) {
	r, err := entry.Open()
	if err != nil {
		return File{}, s.damaged(err)
	}
	defer func() { _ = r.Close() }() // Only read from.
	return s.unpackFile(ctx, entry.Name, int64(min(entry.UncompressedSize64, 1<<62)), r)
}

// unpackFile writes one file of an archive into the stage. Room is made for the size that
// the archive states, and that many bytes it must have.
func (s *stage) unpackFile(ctx context.Context, name string, size int64, r io.Reader) (File, error) {
	if err := checkPath(name); err != nil {
		return File{}, err
	}
	if err := s.grow(size); err != nil {
		return File{}, err
	}
	incoming := s.nextIncoming()
	hash := sha256.New()
	if err := s.write(ctx, incoming, name, size, io.TeeReader(r, hash)); err != nil {
		return File{}, err
	}
	file := File{Path: path.Clean(name), SHA256: hex.EncodeToString(hash.Sum(nil)), SizeBytes: size}
	return file, s.keep(incoming, file)
}

// nextIncoming names a file in the stage that nobody else writes to.
func (s *stage) nextIncoming() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.incoming++
	return filepath.Join(s.folder(incomingFolder), strconv.Itoa(s.incoming))
}

// write copies size bytes to a new file, and has the disk keep them.
func (s *stage) write(ctx context.Context, to, name string, size int64, r io.Reader) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, lockMode)
	if err != nil {
		return err
	}
	// One byte more than stated is read to see that there is none.
	n, err := io.Copy(f, io.LimitReader(untilDone{ctx, r}, size+1))
	var onDisk *fs.PathError
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.As(err, &onDisk):
	case err != nil:
		err = s.damaged(fmt.Errorf("%s: %w", name, err))
	case n != size:
		err = &modelstore.ModelError{File: name, Message: fmt.Sprintf("has not the %d bytes that the archive states", size)}
	default:
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// untilDone is a reader that ends with its context.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
