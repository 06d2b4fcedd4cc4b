// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// childEnv tells the test binary to be a runner that does not get beyond the middle of a
// file: the outputs directory.
const childEnv = "ATELIER_TEST_SAVE"

// apple is the picture that the child writes.
const apple = "a/0.png"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child writes half a picture, says so, and waits until its input ends.
func child(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	f, partial, err := openPartial(root, apple)
	if err != nil {
		return err
	}
	if _, err := f.WriteString("half a pic"); err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(partial + "\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// TestKilledWhileSaving kills a process in the middle of a picture: what it leaves goes when
// the same picture is saved again, but not while it lives.
func TestKilledWhileSaving(t *testing.T) {
	dir := t.TempDir()
	save := func(how func(dir, name string, data []byte) (File, error), name string) {
		t.Helper()
		if _, err := how(dir, name, []byte("a whole picture")); err != nil {
			t.Fatal(err)
		}
	}
	save(Save, apple)
	command, partial := spawn(t, dir)
	is := func(there bool, when string) {
		t.Helper()
		if slices.Contains(list(t, dir), partial) != there {
			t.Errorf("%s is there: %t; want %t %s", partial, !there, there, when)
		}
	}
	save(SaveAgain, apple)
	is(true, "while its process lives")
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait() // It was killed.
	save(SaveAgain, "a/1.png")
	is(true, "after another picture was saved again")
	save(Save, apple)
	is(true, "after the picture was saved as if for the first time")
	save(SaveAgain, apple)
	is(false, "after the picture was saved again")
	if got, err := os.ReadFile(filepath.Join(dir, apple)); err != nil || string(got) != "a whole picture" {
		t.Errorf("the picture holds %q (%v)", got, err)
	}
}

// spawn starts a child, and returns its partial file once that is half written.
func spawn(t *testing.T, dir string) (command *exec.Cmd, partial string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command = exec.CommandContext(t.Context(), self)
	command.Env = append(os.Environ(), childEnv+"="+dir)
	command.Stderr = os.Stderr
	if _, err = command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	partial, err = bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasSuffix(partial, ".partial\n") {
		t.Fatalf("the child says %q (%v)", partial, err)
	}
	return command, strings.TrimSpace(partial)
}

// list is the files in the folder of the picture, by their paths.
func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, filepath.Dir(apple)))
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = filepath.Join(filepath.Dir(apple), entry.Name())
	}
	return names
}

// TestLeftoversOfOthersStay saves a picture beside files that are none of its own.
func TestLeftoversOfOthersStay(t *testing.T) {
	dir := t.TempDir()
	drawn := rand.Text()
	others := []string{
		"a/" + partialPrefix("1.png") + drawn + partialSuffix,
		"a/" + partialPrefix("0.png") + drawn,
		"a/." + drawn + partialSuffix,
		"a/.0.png.partial",
		"a/0.png.partial",
	}
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o750); err != nil {
		t.Fatal(err)
	}
	for _, other := range append(others, "a/"+partialPrefix("0.png")+drawn+partialSuffix) {
		if err := os.WriteFile(filepath.Join(dir, other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := SaveAgain(dir, apple, nil); err != nil {
		t.Fatal(err)
	}
	want := append(others, apple)
	slices.Sort(want)
	if got := list(t, dir); !slices.Equal(got, want) {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}

// TestSaveWithoutLocks removes a file while it is written, as another node may do where it
// does not see the lock: it is written again.
func TestSaveWithoutLocks(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o750); err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("picture "), 1<<18)
	for removed := false; !removed; {
		saved := make(chan error, 1)
		go func() {
			_, err := Save(dir, apple, data)
			saved <- err
		}()
		var err error
		if removed, err = removePartial(dir, saved); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, apple)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file holds %d bytes (%v), want %d", len(got), err, len(data))
	}
	if left := list(t, dir); len(left) != 1 {
		t.Errorf("the folder holds %q", left)
	}
}

// removePartial removes the file that is being written, unless the save is over before. It
// returns what became of the save.
func removePartial(dir string, saved <-chan error) (removed bool, err error) {
	for {
		select {
		case err := <-saved:
			return false, err
		default:
			partials, _ := filepath.Glob(filepath.Join(dir, "a", ".*.partial"))
			if len(partials) > 0 && os.Remove(partials[0]) == nil {
				return true, <-saved
			}
		}
	}
}
