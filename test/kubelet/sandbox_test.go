// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/atelier-dev/atelier/test/internal/child"
)

// The processes of the sandbox are this program, which the environment tells what it is.
const (
	roleEnv     = "ATELIER_SANDBOX_ROLE"
	roleJanitor = "janitor"
	roleGate    = "gate"
	roleInit    = "init"
	roleSuite   = "suite"
)

const (
	// binariesEnv names the directory of kubelet, containerd and the like, and asks for
	// these tests.
	binariesEnv = "ATELIER_KUBELET"
	// sandboxEnv is the sandbox's directory, whose name is that of its cgroups as well.
	sandboxEnv = "ATELIER_SANDBOX"
	// podTestsEnv names the tests about pods to run; without it all.
	podTestsEnv = "ATELIER_POD_TESTS"
	// holdEnv has the suite start its cluster and do nothing more.
	holdEnv = "ATELIER_SANDBOX_HOLD"
)

// cleanTimeout is how long the kernel and the janitor may take to clean up.
const cleanTimeout = 30 * time.Second

// held is what a suite prints that holds.
const held = "the node is ready, and held"

// cgroupRoot is where the machine's cgroups are.
const cgroupRoot = "/sys/fs/cgroup"

func TestMain(m *testing.M) {
	var code int
	switch os.Getenv(roleEnv) {
	case roleJanitor:
		code = report(janitor(os.Stdin))
	case roleGate:
		code = run(gate)
	case roleInit:
		code = run(initialize)
	case roleSuite:
		code = suite(m)
	default:
		if os.Getenv(binariesEnv) == "" {
			fmt.Println("these tests need root, and are run by `make test-e2e`")
			return
		}
		if err := possible(); err != nil {
			code = report(err)
			break
		}
		code = runTests(m, "^TestSandbox")
	}
	os.Exit(code)
}

// runTests runs the tests of this side of the sandbox, or those of them that were asked for.
func runTests(m *testing.M, side string) int {
	flag.Parse()
	asked := flag.Lookup("test.run").Value
	if !strings.HasPrefix(asked.String(), side) {
		_ = asked.Set(side) // a string takes every value
	}
	return m.Run()
}

func report(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "test/kubelet:", err)
		return 1
	}
	return 0
}

// run is for roles that end with the exit code of another process.
func run(role func() (code int, err error)) int {
	code, err := role()
	if err != nil {
		return report(fmt.Errorf("%s: %w", os.Getenv(roleEnv), err))
	}
	return code
}

// possible says what the machine lacks.
func possible() error {
	if os.Geteuid() != 0 {
		return errors.New("a kubelet needs root: run `sudo make test-e2e`")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("%w: install iproute2", err)
	}
	if _, err := os.Stat(filepath.Join(cgroupRoot, "memory", "cgroup.procs")); err != nil {
		return fmt.Errorf("%w: these tests know cgroup v1 only (boot with systemd.unified_cgroup_hierarchy=0)", err)
	}
	return nil
}

// TestSandbox runs all tests that are about pods, in a sandbox.
func TestSandbox(t *testing.T) {
	dir := sandboxDir(t)
	janitor := startJanitor(t, dir)
	gate := as(roleGate, dir)
	gate.Stdout, gate.Stderr = os.Stdout, os.Stderr
	process, err := child.Start(gate)
	if err != nil {
		t.Fatal(err)
	}
	<-process.Done()
	if code := process.ExitCode(); code != 0 {
		t.Errorf("the tests in the sandbox ended with code %d", code)
	}
	janitor.dismiss(t)
	expectNothingLeft(t, dir)
}

// TestSandboxThatIsKilledLeavesNothing kills the process that stands for `make test-e2e` while pods
// run.
func TestSandboxThatIsKilledLeavesNothing(t *testing.T) {
	before := interfaces(t)
	victim := exec.Command(os.Args[0], "-test.run=^TestSandbox$", "-test.v")
	victim.Env = append(os.Environ(), holdEnv+"=1")
	out := &seen{want: []byte(held), found: make(chan struct{})}
	victim.Stdout, victim.Stderr = out, out
	process, err := child.Start(victim)
	if err != nil {
		t.Fatal(err)
	}
	defer process.Kill()
	select {
	case <-out.found:
	case <-process.Done():
		t.Fatalf("the sandbox ended early:\n%s", out.text.Bytes())
	case <-time.After(5 * time.Minute):
		t.Fatal("the node of the sandbox was not ready within five minutes")
	}
	dir := out.sandbox()
	process.Kill()
	expectNothingLeft(t, dir)
	if after := interfaces(t); after != before {
		t.Errorf("network interfaces before:\n%s\nafter:\n%s", before, after)
	}
}

// seen is an output in which something is looked for.
type seen struct {
	text  bytes.Buffer
	want  []byte
	found chan struct{}
}

func (s *seen) Write(p []byte) (int, error) {
	before := bytes.Contains(s.text.Bytes(), s.want)
	s.text.Write(p)
	if !before && bytes.Contains(s.text.Bytes(), s.want) {
		close(s.found)
	}
	return len(p), nil
}

// sandbox is the directory that the output names.
func (s *seen) sandbox() string {
	_, after, _ := strings.Cut(s.text.String(), held+" in ")
	dir, _, _ := strings.Cut(after, "\n")
	return dir
}

// sandboxDir makes the directory of a sandbox. The janitor removes it.
func sandboxDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "atelier-kubelet-") //nolint:usetesting // a test that is killed removes nothing
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// as is this program in another role.
func as(role, dir string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), roleEnv+"="+role, sandboxEnv+"="+dir)
	return cmd
}

// expectNothingLeft waits for the janitor, and looks for what a sandbox could leave.
func expectNothingLeft(t *testing.T, dir string) {
	t.Helper()
	// The janitor is no child of this process.
	NewWithT(t).Eventually(func() []string { return leftovers(t, dir) }).WithTimeout(cleanTimeout).
		WithPolling(pollPeriod).Should(BeEmpty(), "what a sandbox leaves")
}

// leftovers are the cgroups, files, mounts and processes of a sandbox.
func leftovers(t *testing.T, dir string) (left []string) {
	t.Helper()
	if _, err := os.Stat(dir); err == nil {
		left = append(left, dir)
	}
	left = append(left, cgroupsOf(filepath.Base(dir))...)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) {
			left = append(left, "mount "+line)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range processes {
		if environ, err := os.ReadFile(path); err == nil && bytes.Contains(environ, []byte(sandboxEnv+"="+dir)) {
			left = append(left, filepath.Dir(path))
		}
	}
	return left
}

func cgroupsOf(name string) []string {
	found, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", name)) // the pattern is right
	return found
}

func interfaces(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ip", "-brief", "link").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// cleaner is the janitor, and the pipe by which it learns that its sandbox is over.
type cleaner struct {
	process *exec.Cmd
	alive   io.Closer
}

func startJanitor(t *testing.T, dir string) *cleaner {
	t.Helper()
	cmd := as(roleJanitor, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = os.Stderr
	alive, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &cleaner{cmd, alive}
}

func (c *cleaner) dismiss(t *testing.T) {
	t.Helper()
	_ = c.alive.Close()
	if err := c.process.Wait(); err != nil {
		t.Error(err)
	}
}

// janitor waits until the sandbox's test is gone, and removes what no process holds then.
func janitor(alive io.Reader) error {
	_, _ = io.Copy(io.Discard, alive) // ends with the process at the other end
	dir := os.Getenv(sandboxEnv)
	var last error
	err := wait.PollUntilContextTimeout(context.Background(), pollPeriod, cleanTimeout, true, func(context.Context) (bool, error) {
		// An error means that the kernel is not done with the processes.
		last = errors.Join(removeCgroups(filepath.Base(dir)), os.RemoveAll(dir))
		return last == nil, nil
	})
	if err != nil {
		return last
	}
	return nil
}

// removeCgroups removes the cgroups of that name with all below them.
func removeCgroups(name string) error {
	var errs []error
	for _, top := range cgroupsOf(name) {
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
