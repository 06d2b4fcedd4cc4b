// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openPartial creates a file beside the one it is to become. Its name is drawn anew each
// time: two processes may save the same file at once, and each must move only what it wrote
// whole.
//
// The file is locked until it is closed, or its process dies, so that others can tell it
// from a leftover. Where the lock can't be had (in the moment before it another process may
// have taken the file for a leftover; some file systems have no locks, or none that other
// nodes see), the file may vanish before it is moved. Then it is written again.
func openPartial(root *os.Root, name string) (f *os.File, partial string, err error) {
	folder, base := filepath.Split(name)
	partial = filepath.Join(folder, partialPrefix(base)+rand.Text()+partialSuffix)
	f, err = root.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		tryLock(f)
	}
	return f, partial, err
}

// removeLeftovers removes the partial files of a file that no living process writes. It does
// what it can: the file itself is saved.
func removeLeftovers(dir, name string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return
	}
	defer func() { _ = root.Close() }() // Nothing is written through it.
	folder, err := root.Open(filepath.Dir(name))
	if err != nil {
		return
	}
	defer func() { _ = folder.Close() }() // It was only read.
	entries, _ := folder.ReadDir(-1)      // Those read before an error are as good.
	for _, entry := range entries {
		if entry.Type().IsRegular() && isPartialOf(entry.Name(), filepath.Base(name)) {
			removeUnlocked(root, filepath.Join(filepath.Dir(name), entry.Name()))
		}
	}
}

const partialSuffix = ".partial"

// partialPrefix begins the names of the partial files of base. It stands for that name, which
// itself may be as long as the file system lets it be.
func partialPrefix(base string) string {
	sum := sha256.Sum256([]byte(base))
	return "." + hex.EncodeToString(sum[:8]) + "."
}

// isPartialOf reports whether openPartial gives that name to a partial file of base.
func isPartialOf(entry, base string) bool {
	return strings.HasPrefix(entry, partialPrefix(base)) && strings.HasSuffix(entry, partialSuffix)
}

// removeUnlocked removes a partial file while it has the lock on it, so that no process can
// have it for its own. One that was moved into its place meanwhile has another name.
func removeUnlocked(root *os.Root, partial string) {
	f, err := root.OpenFile(partial, os.O_WRONLY, 0) // NFS locks only what is open for writing.
	if err != nil {
		return
	}
	if tryLock(f) {
		_ = root.Remove(partial)
	}
	_ = f.Close() // Nothing was written to it.
}

// tryLock locks a file unless another process has it locked, or there are no locks here.
func tryLock(f *os.File) bool {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}
