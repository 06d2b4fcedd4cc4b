// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
	"github.com/atelier-dev/atelier/internal/retry"
)

// childEnv tells the test binary to be a runner that pulls: the cache's directory and the
// reference, apart by a space.
const childEnv = "ATELIER_TEST_PULL"

func TestMain(m *testing.M) {
	if task := os.Getenv(childEnv); task != "" {
		dir, reference, _ := strings.Cut(task, " ")
		if err := child(dir, reference); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child pulls a model, prints its directory, and uses it until its input ends.
func child(dir, reference string) error {
	c, err := Open(Config{Dir: dir, Backoff: time.Millisecond})
	if err != nil {
		return err
	}
	remote, err := fetch.NewOCI(reference, false, fetch.Credentials{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := c.Pull(ctx, remote, "", func(int64, int64) {})
	if err != nil {
		return err
	}
	if err := m.Verify(); err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(m.Dir + "\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	m.Release()
	return err
}

// process is a child.
type process struct {
	*testing.T
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// spawn starts a child that pulls.
func spawn(t *testing.T, dir, reference string) *process {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	command := exec.CommandContext(t.Context(), self)
	command.Env = append(os.Environ(), childEnv+"="+dir+" "+reference)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	must(t, err)
	out, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	return &process{t, command, in, bufio.NewReader(out)}
}

// awaitModel waits until the child has the model.
func (p *process) awaitModel() {
	p.Helper()
	if line, err := p.out.ReadString('\n'); err != nil || !strings.Contains(line, "/models/") {
		p.Fatalf("the child says %q (%v)", line, err)
	}
}

func (p *process) end() {
	p.Helper()
	must(p.T, p.in.Close())
	must(p.T, p.command.Wait())
}

func (p *process) kill() {
	p.Helper()
	must(p.T, p.command.Process.Signal(syscall.SIGKILL))
	_ = p.command.Wait() // It was killed.
}

// TestKilledDuringPull kills a process in the middle of a file: the next one goes on there.
func TestKilledDuringPull(t *testing.T) {
	const size = 8 << 20
	s := newRegistry(t)
	want := files{"model_index.json": noise(40, size)}
	reference := s.pushFiles("a/model", want)
	config := quick(t)
	half := make(chan struct{})
	s.setFault(func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n > 1 {
			return false
		}
		_, _ = io.WriteString(w, want["model_index.json"][:size/2])
		_ = http.NewResponseController(w).Flush()
		close(half)
		<-r.Context().Done() // The process is dead.
		return true
	})
	p := spawn(t, config.Dir, reference)
	<-half
	c := open(t, config)
	for arrivedIn(t, c) < size/2 {
		must(t, retry.Pause(t.Context(), time.Millisecond))
	}
	p.kill()
	if m, err := c.Use(t.Context(), "sha256:"+sha(nil)); m != nil || err != nil {
		t.Errorf("there is a model (%v)", err)
	}
	if models, _ := names(c.path("models")); len(models) > 0 {
		t.Errorf("there is half a model: %v", models)
	}
	m, err := pull(t, c, s.oci(reference))
	must(t, err)
	want.expect(t, m)
	if _, ranged, served := s.seen(); ranged != 1 || served > size/2+1000 {
		t.Errorf("%d requests went on in the middle, and %d bytes were sent after the crash; want the second half", ranged, served)
	}
	if staged, _ := names(c.path("staging")); len(staged) > 0 {
		t.Errorf("the crash left %v", staged)
	}
}

// arrivedIn is how much there is of files that are not whole.
func arrivedIn(t *testing.T, c *Cache) int64 {
	t.Helper()
	partials, err := sizes(c.path("partial"))
	must(t, err)
	var size int64
	for _, partial := range partials {
		size += partial.size
	}
	return size
}

// TestKilledAnywhere kills processes at moments that come as they will. Each time the
// cache is fit for use, and in the end the model is whole.
func TestKilledAnywhere(t *testing.T) {
	s := newRegistry(t)
	want := model(41, 6<<20)
	reference := s.push("a/model", want)
	config := quick(t)
	c := open(t, config)
	for i := range 12 {
		p := spawn(t, config.Dir, reference)
		must(t, retry.Pause(t.Context(), time.Duration(10+i*12)*time.Millisecond))
		p.kill()
		entries, err := c.List()
		must(t, err)
		for _, entry := range entries {
			m, err := c.Use(t.Context(), entry.Digest)
			must(t, err)
			want.expect(t, m)
			m.Release()
		}
		if len(entries) > 0 {
			_, err := c.Prune(0)
			must(t, err)
		}
	}
	m, err := pull(t, c, s.oci(reference))
	must(t, err)
	want.expect(t, m)
}

// TestTwoRunnersPullOneModel starts two processes at once: one fetches, both use, and
// neither's model can be thrown away by the other.
func TestTwoRunnersPullOneModel(t *testing.T) {
	s := newRegistry(t)
	want := model(42, 4<<20)
	reference := s.push("a/model", want)
	config := quick(t)
	a, b := spawn(t, config.Dir, reference), spawn(t, config.Dir, reference)
	a.awaitModel()
	b.awaitModel()
	if gets, _, _ := s.seen(); gets != 4 {
		t.Errorf("%d blobs were fetched; want each of the 4 once", gets)
	}
	c := open(t, config)
	entries, err := c.List()
	must(t, err)
	if len(entries) != 1 || !entries[0].InUse {
		t.Fatalf("the cache has %+v; want one model in use", entries)
	}
	a.end()
	if left, err := c.Prune(0); left == 0 || err != nil {
		t.Errorf("a model in use was thrown away (%v)", err)
	}
	b.kill() // Its lock goes with it.
	if left, err := c.Prune(0); left != 0 || err != nil {
		t.Errorf("%d bytes stay of a model that nobody uses (%v)", left, err)
	}
}

// mountSmall mounts a file system of so many bytes, which takes the right to.
func mountSmall(t *testing.T, size int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// TestDiskFull pulls into a file system that is too small, which takes the right to mount one.
func TestDiskFull(t *testing.T) {
	dir := mountSmall(t, 4<<20)
	s := newRegistry(t)
	config := quick(t)
	config.Dir = dir
	c := open(t, config)
	small := s.oci(s.pushFiles("a/small", model(43, 1<<20)))
	m, err := c.Pull(t.Context(), small, "", func(int64, int64) {})
	must(t, err)
	m.Release()
	_, err = pull(t, c, s.oci(s.pushFiles("a/large", model(44, 5<<20))))
	if !isFull(err) {
		t.Errorf("error is %v; want that the cache is full", err)
	}
	// An archive whose size nobody tells fills the disk before it is known.
	data := model(45, 5<<20).tar(t, "")
	web := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write(data[:1<<20])
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(data[1<<20:])
	}))
	if _, err = pull(t, c, web.http(sha(data))); !isFull(err) {
		t.Errorf("error is %v; want that the cache is full", err)
	}
	m, err = pull(t, c, small)
	must(t, err)
	must(t, m.Verify())
}

// TestWriteError has the disk fill up between the look at its room and the write.
func TestWriteError(t *testing.T) {
	for _, err := range []error{unix.ENOSPC, unix.EDQUOT} {
		wrapped := full(&os.PathError{Op: "write", Path: "x", Err: err})
		var f *FullError
		if !errors.As(wrapped, &f) || !strings.Contains(wrapped.Error(), "the model cache is full") {
			t.Errorf("full(%v) is %v", err, wrapped)
		}
	}
}
