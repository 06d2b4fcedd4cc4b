// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package s3server starts a real S3 server, Versity's gateway, for tests: on loopback,
// with its objects in a directory, and a proxy before it that fails as it is told to.
package s3server

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atelier-dev/atelier/test/internal/ports"
	"github.com/atelier-dev/atelier/test/internal/repository"
)

// The credentials of the server's only account.
const (
	AccessKeyID     = "atelier"
	SecretAccessKey = "atelier-test-only"
)

// free are the ports for servers.
var free ports.Pool

// startTimeout is for machines that build and test other things at the same time.
const startTimeout = time.Minute

// Server is an S3 server.
type Server struct {
	// URL is the endpoint of the proxy.
	URL string
	// root has a directory for each bucket, and in it a file for each object; sidecar what
	// else is known of them.
	root, sidecar string
	// address is where the process listens.
	address string
	// kill ends the process and waits for that.
	kill  func()
	fault atomic.Pointer[Fault]
	puts  atomic.Int64
}

// Fault is asked before each request that writes an object, of which n is the number. True
// says that it answered.
type Fault func(w http.ResponseWriter, r *http.Request, n int64) bool

// Start starts a server with buckets, for as long as the test runs.
func Start(t testing.TB, buckets ...string) *Server {
	t.Helper()
	s := &Server{root: t.TempDir(), sidecar: t.TempDir(), kill: func() {}}
	for _, bucket := range buckets {
		if err := os.Mkdir(filepath.Join(s.root, bucket), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	port, err := free.Take()
	if err != nil {
		t.Fatal(err)
	}
	s.address = ports.Address(port)
	t.Cleanup(func() { s.Stop() })
	s.Restart(t)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.address})
	// What the server does not answer ends as a cut connection, as without a proxy.
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			n := s.puts.Add(1)
			if fault := s.fault.Load(); fault != nil && (*fault)(w, r, n) {
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	s.URL = front.URL
	return s
}

// SetFault says what is to go wrong from now on; nil is nothing.
func (s *Server) SetFault(fault Fault) {
	if fault == nil {
		s.fault.Store(nil)
		return
	}
	s.fault.Store(&fault)
}

// Puts is how many requests to write an object have come.
func (s *Server) Puts() int64 { return s.puts.Load() }

// Object reads an object from the server's disk.
func (s *Server) Object(bucket, key string) ([]byte, error) {
	return os.ReadFile(filepath.Join(s.root, bucket, filepath.FromSlash(key)))
}

// Keys are those of all objects of a bucket.
func (s *Server) Keys(bucket string) ([]string, error) {
	var keys []string
	err := fs.WalkDir(os.DirFS(filepath.Join(s.root, bucket)), ".", func(key string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			keys = append(keys, key)
		}
		return err
	})
	return keys, err
}

// Stop kills the server. Its objects stay.
func (s *Server) Stop() { s.kill() }

// Restart starts a server that was stopped, where it was.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
}

// run starts the process and waits until it listens.
func (s *Server) run() error {
	program, err := find()
	if err != nil {
		return err
	}
	var output strings.Builder
	command := exec.Command(program, "--quiet", "--port", s.address, "posix", "--sidecar", s.sidecar, s.root)
	command.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKeyID, "ROOT_SECRET_KEY="+SecretAccessKey)
	command.Stdout, command.Stderr = io.Discard, &output
	// Not by package child, whose goroutine stays: those who call count what they leave.
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	s.kill = func() { _ = command.Process.Kill(); <-ended }
	deadline := time.After(startTimeout)
	for {
		connection, err := net.Dial("tcp", s.address)
		if err == nil {
			return connection.Close()
		}
		select {
		case <-ended:
			return fmt.Errorf("%s ended: %s", program, output.String())
		case <-deadline:
			return fmt.Errorf("%s: %w", program, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// find gives the program that `make s3server` builds.
func find() (string, error) {
	root, err := repository.Root()
	if err != nil {
		return "", err
	}
	program := filepath.Join(root, "bin", "versitygw")
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("run `make s3server` first: %w", err)
	}
	return program, nil
}
