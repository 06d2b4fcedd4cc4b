// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

// note notes a load, and wants it to be the first or not.
func note(t *testing.T, c *Cache, digit string, again bool) {
	t.Helper()
	got, err := c.NoteLoaded(key(digit))
	must(t, err)
	if got != again {
		t.Errorf("that %s was loaded before is %t; want %t", digit, got, again)
	}
}

func TestLoadsAreNoted(t *testing.T) {
	c := openSmall(t)
	note(t, c, "a", false)
	note(t, c, "b", false)
	another, err := Open(Config{Dir: c.config.Dir})
	must(t, err)
	note(t, another, "a", true)
	note(t, another, "a", true)
	if size, err := c.measureDerived(); size != 0 || err != nil {
		t.Errorf("the notes take %d bytes (%v); want 0", size, err)
	}
	must(t, derive(c, "c", 10))
	must(t, c.makeRoom(100, nil)) // The notes stay, as they take no room.
	note(t, c, "b", true)
}

func TestNotesEndWithWhatTheyAreFor(t *testing.T) {
	c := openSmall(t)
	note(t, c, "a", false)
	if err := c.MakeDerived(key("a"), 10, func(string) error { return errors.New("broken") }); err == nil {
		t.Error("there is no error")
	}
	note(t, c, "a", true)
	must(t, derive(c, "a", 10))
	must(t, c.DropDerived(key("a")))
	note(t, c, "a", false)
}

func TestPruneTakesNotesBack(t *testing.T) {
	c := openSmall(t)
	note(t, c, "a", false)
	_, err := c.Prune(1 << 20)
	must(t, err)
	note(t, c, "a", false)
}

func TestOldestNotesGo(t *testing.T) {
	c := openSmall(t)
	for i := range maxLoaded {
		name := fmt.Sprintf("%064d", i)
		_, err := c.NoteLoaded(name)
		must(t, err)
		then := time.Now().Add(time.Duration(-i-1) * time.Second)
		must(t, os.Chtimes(c.loadedFile(name), then, then))
	}
	note(t, c, "a", false)
	kept, err := names(c.loaded())
	must(t, err)
	if len(kept) != maxLoaded {
		t.Errorf("there are %d notes; want %d", len(kept), maxLoaded)
	}
	note(t, c, "a", true)
	if again, err := c.NoteLoaded(fmt.Sprintf("%064d", maxLoaded-1)); again || err != nil {
		t.Errorf("the oldest note is still there (%v)", err)
	}
}
