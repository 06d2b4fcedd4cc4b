// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/atelier-dev/atelier/test/internal/child"
	"github.com/atelier-dev/atelier/test/localcluster"
)

// Addresses in the sandbox's network, of which nobody outside knows. The node's are those
// that RFC 5737 keeps for documentation.
const (
	nodeAddress = "192.0.2.2"
	podSubnet   = "10.99.0.0/24"
)

// namespaces of the sandbox.
const namespaces = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC |
	syscall.CLONE_NEWUTS | syscall.CLONE_NEWCGROUP

// gate joins the sandbox's cgroups, which become the roots that the namespaces show, and
// starts process 1 in them.
func gate() (code int, err error) {
	dir := os.Getenv(sandboxEnv)
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return 0, err
	}
	for _, hierarchy := range hierarchies {
		if err := joinCgroup(filepath.Join(cgroupRoot, hierarchy), filepath.Base(dir)); err != nil {
			return 0, err
		}
	}
	cmd := as(roleInit, dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	process, err := child.Start(cmd)
	if err != nil {
		return 0, err
	}
	return int(process.ExitCode()), nil
}

// cgroupHierarchies are the directories of cgroup v1 hierarchies, such as "memory" or
// "cpu,cpuacct".
func cgroupHierarchies() ([]string, error) {
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		// Links are other names; "unified" is the hierarchy of version 2, without controllers.
		if entry.IsDir() && entry.Name() != "unified" {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// joinCgroup moves this process into a new cgroup.
func joinCgroup(hierarchy, name string) error {
	group := filepath.Join(hierarchy, name)
	if err := os.Mkdir(group, 0o755); err != nil {
		return err
	}
	// A cpuset is empty at first, and takes nobody in.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		content, err := os.ReadFile(filepath.Join(hierarchy, file))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(group, file), content, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0o644)
}

// initialize is process 1: it furnishes the namespaces, starts the suite, and reaps what
// loses its parent, until the suite ends.
func initialize() (code int, err error) {
	dir := os.Getenv(sandboxEnv)
	if err := errors.Join(furnishMounts(dir), furnishNetwork()); err != nil {
		return 0, err
	}
	if err := syscall.Sethostname([]byte(nodeName)); err != nil {
		return 0, err
	}
	cmd := as(roleSuite, dir)
	cmd.Env = append(cmd.Env, "TMPDIR="+dir)
	suite, err := os.StartProcess(cmd.Path, cmd.Args, &os.ProcAttr{
		Env: cmd.Environ(), Files: []*os.File{nil, os.Stdout, os.Stderr},
	})
	if err != nil {
		return 0, err
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, err
		case pid == suite.Pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case pid == suite.Pid:
			return status.ExitStatus(), nil
		}
	}
}

// mount is what has to be mounted.
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

// furnishMounts gives the namespace its own processes and cgroups, and empty directories where
// a node keeps its state.
func furnishMounts(dir string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	if err := mountAll(mount{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE, ""}, mount{"proc", "/proc", "proc", 0, ""}); err != nil {
		return err
	}
	if err := syscall.Unmount(cgroupRoot, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("%s: %w", cgroupRoot, err)
	}
	mounts := []mount{{"tmpfs", cgroupRoot, "tmpfs", 0, "mode=755"}}
	for _, hierarchy := range hierarchies {
		data := hierarchy
		if hierarchy == "systemd" {
			data = "none,name=systemd"
		}
		mounts = append(mounts, mount{"cgroup", filepath.Join(cgroupRoot, hierarchy), "cgroup", 0, data})
	}
	for _, target := range []string{"/run", "/var/lib", "/var/log"} {
		mounts = append(mounts, mount{"tmpfs", target, "tmpfs", 0, "mode=755"})
	}
	if err := mountAll(mounts...); err != nil {
		return err
	}
	if err := hideKernelSettings(dir); err != nil {
		return err
	}
	// The kubelet shares mounts with its pods.
	return mountAll(mount{"", "/", "", syscall.MS_REC | syscall.MS_SHARED, ""})
}

func mountAll(mounts ...mount) error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.kind, m.target, err)
		}
	}
	return nil
}

// hideKernelSettings puts files in the place of what the kubelet sets of the whole machine.
func hideKernelSettings(dir string) error {
	for _, name := range []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	} {
		setting := filepath.Join("/proc/sys", name)
		content, err := os.ReadFile(setting)
		if err != nil {
			return err
		}
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
		if err := syscall.Mount(file, setting, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", setting, err)
		}
	}
	return nil
}

// furnishNetwork makes the node's network interface and the address of the API server's
// Service, which no kube-proxy is needed for, as the API server listens on it.
func furnishNetwork() error {
	for _, args := range []string{
		"link set lo up",
		"address add " + localcluster.ServiceAddress + "/32 dev lo",
		"link add node type bridge",
		"address add " + nodeAddress + "/24 dev node",
		"link set node up",
		"route add default dev node",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
	}
	return nil
}
