// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilexec "k8s.io/utils/exec"

	"github.com/atelier-dev/atelier/test/internal/ports"
)

// outputDelay bounds how long the output of a command is read after it has ended.
const outputDelay = time.Second

// execute runs a command beside a container's process, with its environment and in its
// directory.
func (w *podWorker) execute(ctx context.Context, container string, command []string, stdin io.Reader, stdout, stderr io.Writer) error {
	w.mu.Lock()
	running := w.processes[container]
	w.mu.Unlock()
	if running == nil {
		return errdefs.NotFoundf("container %q does not run", container)
	}
	if len(command) == 0 {
		return errdefs.InvalidInput("no command to execute")
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env, cmd.Dir = running.command.Env, running.command.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.WaitDelay = outputDelay
	err := cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return utilexec.CodeExitError{Err: err, Code: exit.ExitCode()}
	}
	return err
}

// forward connects stream to a port of the pod.
func (w *podWorker) forward(ctx context.Context, port int32, stream io.ReadWriteCloser) error {
	number, err := w.hostPort(nil, intstr.FromInt32(port))
	if err != nil {
		return err
	}
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", ports.Address(number))
	if err != nil {
		return fmt.Errorf("port %d of pod %s: %w", port, w.pod.Name, err)
	}
	defer func() { _ = connection.Close() }()
	go func() {
		_, _ = io.Copy(connection, stream)
		_ = connection.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, connection)
	return err
}
