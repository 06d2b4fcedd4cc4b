// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package child starts processes that never outlive this one.
package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Process is a started process, the leader of a process group of its own, so that
// whatever it starts can be ended with it and a terminal's interrupt does not reach it.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// Start starts cmd. Where the system can do that (Linux), the process is killed when
// this one ends, however that happens.
func Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	bind(cmd.SysProcAttr)
	result := make(chan error)
	starter() <- func() { result <- cmd.Start() }
	if err := <-result; err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go p.wait()
	return p, nil
}

// starter returns the queue of a goroutine that starts every process. The kernel's
// parent-death signal is tied to the thread that forked, so that thread must stay.
var starter = sync.OnceValue(func() chan<- func() {
	queue := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range queue {
			start()
		}
	}()
	return queue
})

// wait reaps the process and ends what it left behind in its group.
func (p *Process) wait() {
	_ = p.cmd.Wait() // the state says all that the error does
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	close(p.done)
}

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the process and to all that it started. It does nothing to
// processes that have ended.
func (p *Process) Signal(signal syscall.Signal) {
	select {
	case <-p.done: // the id may belong to another process by now
	default:
		_ = syscall.Kill(-p.PID(), signal)
	}
}

// Kill ends the process and waits until it has.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// ExitCode of a process that has ended: what it returned, or 128 and the number of the
// signal that ended it.
func (p *Process) ExitCode() int32 {
	<-p.done
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return 128 + int32(status.Signal())
	}
	return int32(p.cmd.ProcessState.ExitCode())
}

// Alive reports whether a process of that id is there.
func Alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// StartLogged starts cmd with its output appended to the file log.
func StartLogged(cmd *exec.Cmd, log string) (*Process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", cmd.Path, err)
	}
	defer func() { _ = file.Close() }() // the process has a copy of the descriptor
	cmd.Stdout, cmd.Stderr = file, file
	return Start(cmd)
}
