// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	"github.com/virtual-kubelet/virtual-kubelet/node/api"
)

// followPeriod is how often a log that is followed is looked at.
const followPeriod = 100 * time.Millisecond

// logs opens the log of a container's present run, or of the one before.
func (w *podWorker) logs(ctx context.Context, container string, opts api.ContainerLogOpts) (io.ReadCloser, error) {
	if opts.Timestamps || opts.SinceSeconds > 0 || !opts.SinceTime.IsZero() {
		return nil, errdefs.InvalidInput("this node keeps logs without times: --timestamps, --since and --since-time can't be answered")
	}
	w.mu.Lock()
	status, known := w.statuses[container]
	current := w.processes[container]
	restart := int32(0)
	if known {
		restart = status.RestartCount
	}
	w.mu.Unlock()
	if !known {
		return nil, errdefs.NotFoundf("pod %s has no container %q", w.pod.Name, container)
	}
	if opts.Previous {
		restart--
	}
	file, err := os.Open(w.logPath(container, restart))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errdefs.NotFoundf("container %q has not run %d times", container, restart+1)
	}
	if err != nil {
		return nil, err
	}
	if err := seekTail(file, opts.Tail); err != nil {
		_ = file.Close()
		return nil, err
	}
	var reader io.Reader = file
	if opts.Follow && !opts.Previous && current != nil && current.log == file.Name() {
		reader = &follower{ctx: ctx, file: file, ended: current.process.Done()}
	}
	if opts.LimitBytes > 0 {
		reader = io.LimitReader(reader, int64(opts.LimitBytes))
	}
	return struct {
		io.Reader
		io.Closer
	}{reader, file}, nil
}

// seekTail moves to the beginning of the last lines. 0 is all of them.
func seekTail(file *os.File, lines int) error {
	if lines <= 0 {
		return nil
	}
	data, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	start := len(bytes.TrimSuffix(data, []byte("\n")))
	for ; lines > 0 && start >= 0; lines-- {
		start = bytes.LastIndexByte(data[:start], '\n')
	}
	_, err = file.Seek(int64(start+1), io.SeekStart)
	return err
}

// follower reads a file that grows until the process that writes it has ended.
type follower struct {
	ctx   context.Context
	file  *os.File
	ended <-chan struct{}
}

func (f *follower) Read(p []byte) (int, error) {
	for {
		ended := false
		select {
		case <-f.ended:
			ended = true // what it wrote is in the file by now
		default:
		}
		n, err := f.file.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) || ended {
			return n, err
		}
		select {
		case <-f.ctx.Done():
			return 0, f.ctx.Err()
		case <-f.ended:
		case <-time.After(followPeriod):
		}
	}
}
