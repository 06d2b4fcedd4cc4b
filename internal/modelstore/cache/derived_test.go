// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// key makes a key of one digit.
func key(digit string) string { return strings.Repeat(digit, 64) }

// derive makes derived files of n bytes.
func derive(c *Cache, digit string, n int) error {
	return c.MakeDerived(key(digit), int64(n), func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "data"), make([]byte, n), 0o600)
	})
}

// rest has derived files not used for as long as others may take their place after.
func rest(t *testing.T, c *Cache, digits ...string) {
	t.Helper()
	for i, digit := range digits {
		then := time.Now().Add(time.Duration(i)*time.Second - derivedRest - time.Minute)
		must(t, os.Chtimes(c.lockFile(key(digit)), then, then))
	}
}

// have lists the digits of which there are derived files.
func have(t *testing.T, c *Cache) string {
	t.Helper()
	list, err := names(c.derived())
	must(t, err)
	var digits strings.Builder
	for _, name := range list {
		digits.WriteString(name[:1])
	}
	return digits.String()
}

// openSmall opens a cache that has room for 100 bytes, however full the disk is.
func openSmall(t *testing.T) *Cache {
	t.Helper()
	c, err := Open(Config{Dir: t.TempDir(), Capacity: 100, KeepFree: -1})
	must(t, err)
	return c
}

func TestDerivedFilesAreMadeOnce(t *testing.T) {
	c := openSmall(t)
	must(t, derive(c, "a", 10))
	must(t, c.MakeDerived(key("a"), 10, func(string) error { return errors.New("it was made twice") }))
	dir, release, err := c.UseDerived(key("a"))
	must(t, err)
	defer release()
	if data, err := os.ReadFile(filepath.Join(dir, "data")); err != nil || len(data) != 10 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if dir, _, err := c.UseDerived(key("b")); dir != "" || err != nil {
		t.Errorf("there is %q, %v", dir, err)
	}
}

func TestLongestUnusedDerivedFilesGoFirst(t *testing.T) {
	c := openSmall(t)
	for _, digit := range []string{"a", "b"} {
		must(t, derive(c, digit, 40))
	}
	rest(t, c, "b", "a")
	must(t, derive(c, "c", 40))
	if got := have(t, c); got != "ac" {
		t.Errorf("there are %s; want a and c", got)
	}
}

// TestDerivedFilesUsedOfLateStay when others are made that have no room beside them: what is
// used in turns would else be made each time, and never be used.
func TestDerivedFilesUsedOfLateStay(t *testing.T) {
	c := openSmall(t)
	must(t, derive(c, "a", 60))
	var none *FullError
	if err := derive(c, "b", 60); !errors.As(err, &none) {
		t.Errorf("got %v; want a FullError", err)
	}
	rest(t, c, "a")
	_, release, err := c.UseDerived(key("a"))
	must(t, err)
	release()
	if err := derive(c, "b", 60); !errors.As(err, &none) {
		t.Errorf("got %v after a was used; want a FullError", err)
	}
	rest(t, c, "a")
	must(t, derive(c, "b", 60))
	if got := have(t, c); got != "b" {
		t.Errorf("there is %q; want b", got)
	}
}

func TestDerivedFilesInUseStay(t *testing.T) {
	c := openSmall(t)
	must(t, derive(c, "a", 80))
	_, release, err := c.UseDerived(key("a"))
	must(t, err)
	rest(t, c, "a")
	var none *FullError
	if err := derive(c, "b", 80); !errors.As(err, &none) {
		t.Errorf("got %v; want a FullError", err)
	}
	must(t, c.DropDerived(key("a")))
	if got := have(t, c); got != "a" {
		t.Errorf("there is %q; want a, which is in use", got)
	}
	release()
	must(t, derive(c, "b", 80))
	if got := have(t, c); got != "b" {
		t.Errorf("there is %q; want b", got)
	}
}

// TestDerivedFilesMakeRoomForModels fits a model where derived files are, but not the other
// way round.
func TestDerivedFilesMakeRoomForModels(t *testing.T) {
	c := openSmall(t)
	must(t, derive(c, "a", 80))
	must(t, c.makeRoom(50, nil))
	if got := have(t, c); got != "" {
		t.Errorf("there is %q; want nothing", got)
	}
	must(t, os.WriteFile(c.blob(key("e")), make([]byte, 80), 0o600))
	must(t, os.MkdirAll(c.modelFiles(key("f")), dirMode))
	must(t, os.Link(c.blob(key("e")), filepath.Join(c.modelFiles(key("f")), "file")))
	var none *FullError
	if err := derive(c, "b", 80); !errors.As(err, &none) {
		t.Errorf("got %v; want a FullError, as no model goes", err)
	}
	if _, err := os.Stat(c.blob(key("e"))); err != nil {
		t.Error(err)
	}
}

// TestAttemptsAreCounted fails to make files, as often as that is tried.
func TestAttemptsAreCounted(t *testing.T) {
	c := openSmall(t)
	calls := 0
	fail := func() error {
		return c.MakeDerived(key("a"), 10, func(string) error { calls++; return errors.New("broken") })
	}
	for range maxTried {
		if err := fail(); err == nil || errors.Is(err, ErrTried) {
			t.Errorf("got %v", err)
		}
	}
	if err := fail(); !errors.Is(err, ErrTried) || calls != maxTried {
		t.Errorf("%v after %d attempts; want ErrTried after %d", err, calls, maxTried)
	}
	if _, err := c.Prune(1 << 20); err != nil {
		t.Fatal(err)
	}
	must(t, derive(c, "a", 10))
	must(t, derive(c, "b", 10)) // What succeeds is not counted.
	if got := have(t, c); got != "ab" {
		t.Errorf("there is %q; want a and b", got)
	}
}

func TestPinned(t *testing.T) {
	c := openSmall(t)
	if got := c.Pinned(filepath.Join(c.modelFiles(key("a")), "unet/model.onnx")); got != key("a")+"/model/unet/model.onnx" {
		t.Errorf("got %q", got)
	}
	for _, file := range []string{"/models/x/model.onnx", c.path("derived", "x"), c.path("models")[:5]} {
		if got := c.Pinned(file); got != "" {
			t.Errorf("%s is %q", file, got)
		}
	}
}

// TestDerivedFilesLeaveRoomOnTheDisk fills a file system with models up to where derived files
// would take what is to stay free. It takes the right to mount one.
func TestDerivedFilesLeaveRoomOnTheDisk(t *testing.T) {
	const size = 10 << 20
	c, err := Open(Config{Dir: mountSmall(t, size)})
	must(t, err)
	if !c.InMemory() {
		t.Error("it is not known to be in memory")
	}
	must(t, derive(c, "a", size/2))
	must(t, os.WriteFile(c.path("other"), make([]byte, size/4), 0o600))
	var none *FullError
	err = derive(c, "b", size/5)
	if !errors.As(err, &none) || none.KeepFree != size/100*DefaultKeepFree || !strings.Contains(err.Error(), "1572855 bytes of the file system are to stay free") {
		t.Errorf("got %v; want a FullError that says what is to stay free", err)
	}
	must(t, derive(c, "b", size/20))
	must(t, c.makeRoom(size/5, nil))
	if got := have(t, c); got != "ab" {
		t.Errorf("there are %q; want a and b, as a model may have all", got)
	}
	rest(t, c, "a")
	must(t, derive(c, "c", size/5))
	if got := have(t, c); got != "bc" {
		t.Errorf("there are %q; want b and c in the place of a", got)
	}
}

func TestLimit(t *testing.T) {
	for name, c := range map[string]struct {
		capacity, stored, available, free int64
		limit, kept                       int64
	}{
		"what the disk has":           {stored: 10, available: 90, limit: 100},
		"less what is to stay free":   {stored: 10, available: 90, free: 15, limit: 85, kept: 15},
		"less than is stored":         {stored: 10, available: 10, free: 15, limit: 5, kept: 15},
		"nothing":                     {stored: 10, available: 1, free: 15, limit: 0, kept: 15},
		"the capacity":                {capacity: 50, stored: 10, available: 90, free: 15, limit: 50},
		"the disk below the capacity": {capacity: 90, stored: 10, available: 90, free: 15, limit: 85, kept: 15},
	} {
		limit, kept := Config{Capacity: c.capacity}.limit(c.stored, c.available, c.free)
		if limit != c.limit || kept != c.kept {
			t.Errorf("%s: %d and %d kept; want %d and %d", name, limit, kept, c.limit, c.kept)
		}
	}
}
