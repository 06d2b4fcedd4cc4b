// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package front

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/atelier-dev/atelier/test/internal/ports"
)

// free are the ports for servers.
var free ports.Pool

// startTimeout is for machines that build and test other things at the same time.
const startTimeout = time.Minute

// Process is a server that listens.
type Process struct {
	// Address is where.
	Address     string
	program     string
	arguments   []string
	environment []string
	// kill ends the process and waits for that.
	kill func()
}

// StartProcess starts a server that listens where arguments tell it to, for as long as the
// test runs, and waits until it does.
func StartProcess(t testing.TB, program string, arguments func(host string, port int) []string, environment ...string) (*Process, error) {
	t.Helper()
	port, err := free.Take()
	if err != nil {
		return nil, err
	}
	p := &Process{Address: ports.Address(port), program: program, environment: append(os.Environ(), environment...), kill: func() {}}
	host, _, err := net.SplitHostPort(p.Address)
	if err != nil {
		return nil, err
	}
	p.arguments = arguments(host, port)
	t.Cleanup(func() { p.Stop() })
	return p, p.run()
}

// Stop kills the server. What it has on the disk stays.
func (p *Process) Stop() { p.kill() }

// Restart starts a server that was stopped, where it was.
func (p *Process) Restart(t testing.TB) {
	t.Helper()
	if err := p.run(); err != nil {
		t.Fatal(err)
	}
}

// run starts the process and waits until it listens.
func (p *Process) run() error {
	var output strings.Builder
	command := exec.Command(p.program, p.arguments...)
	command.Env = p.environment
	command.Stdout, command.Stderr = io.Discard, &output
	// Not by package child, whose goroutine stays: those who call count what they leave.
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	p.kill = func() { _ = command.Process.Kill(); <-ended }
	deadline := time.After(startTimeout)
	for {
		connection, err := net.Dial("tcp", p.Address)
		if err == nil {
			return connection.Close()
		}
		select {
		case <-ended:
			return fmt.Errorf("%s ended: %s", p.program, output.String())
		case <-deadline:
			return fmt.Errorf("%s: %w", p.program, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
