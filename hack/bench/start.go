// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"time"
)

// imports are what Python workers import before they can take work.
var imports = []struct{ name, code string }{
	{"Python, diffusers imported", "from diffusers import StableDiffusionPipeline"},
	{"Python, optimum imported", "from optimum.onnxruntime import ORTStableDiffusionPipeline"},
}

// startToReady compares how long processes take from their start until they take work: the
// median of all rounds.
func (b bench) startToReady(ctx context.Context) error {
	var runner []time.Duration
	python := make([][]time.Duration, len(imports))
	for range b.rounds {
		b.say("starting runner serve")
		took, err := b.startRunner(ctx)
		if err != nil {
			return fmt.Errorf("starting the runner: %w", err)
		}
		runner = append(runner, took)
		for i, module := range imports {
			if b.python == "" {
				continue
			}
			b.say("starting " + module.name)
			took, err := b.startPython(ctx, module.code)
			if err != nil {
				return fmt.Errorf("%s: %w", module.name, err)
			}
			python[i] = append(python[i], took)
		}
	}
	ready := median(runner).Seconds()
	t := newTable("START TO READY", "SECONDS", "TIMES THE RUNNER'S", "GOAL")
	t.row("runner serve", fmt.Sprintf("%.3f", ready), "1")
	for i, module := range imports {
		if len(python[i]) > 0 {
			took := median(python[i]).Seconds()
			t.row(module.name, fmt.Sprintf("%.3f", took), fmt.Sprintf("%.0f", took/ready), met(">= 50", took/ready >= 50))
		}
	}
	return t.write(b.out)
}

func median(values []time.Duration) time.Duration {
	slices.Sort(values)
	return values[len(values)/2]
}

// startRunner starts `runner serve` beside a server that stands in for Kubernetes, and
// gives the time until its /readyz says so.
func (b bench) startRunner(ctx context.Context) (time.Duration, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server := newAPIServer()
	defer server.Close()
	defer server.CloseClientConnections()
	environment, err := server.environment(dir)
	if err != nil {
		return 0, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return 0, err
	}
	command := exec.CommandContext(ctx, b.runner, "serve", "--listen", address, "--models-dir", dir, "--outputs-dir", dir)
	command.Env = append(os.Environ(), environment...)
	start := time.Now()
	if err := command.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}()
	err = waitReady(ctx, "http://"+address+"/readyz")
	return time.Since(start), err
}

// freeAddress gives an address of this machine that nothing listens on.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// waitReady asks every millisecond until the answer is yes.
func waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%s never said yes: %w", url, ctx.Err())
		}
	}
}

// startPython gives the time until a Python process has run some code.
func (b bench) startPython(ctx context.Context, code string) (time.Duration, error) {
	command := exec.CommandContext(ctx, b.python, "-W", "ignore", "-c", code+"\nprint('ready', flush=True)")
	out, err := command.StdoutPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := command.Start(); err != nil {
		return 0, err
	}
	_, err = bufio.NewReader(out).ReadString('\n')
	took := time.Since(start)
	if waitErr := command.Wait(); err == nil {
		err = waitErr
	}
	return took, err
}
