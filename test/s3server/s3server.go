// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package s3server starts a real S3 server, Versity's gateway, for tests: on loopback,
// with its objects in a directory, and a proxy before it that fails as it is told to.
package s3server

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/atelier-dev/atelier/test/front"
	"github.com/atelier-dev/atelier/test/internal/repository"
)

// The credentials of the server's only account.
const (
	AccessKeyID     = "atelier"
	SecretAccessKey = "atelier-test-only"
)

// Server is an S3 server.
type Server struct {
	*front.Front
	*front.Process
	// root has a directory for each bucket, and in it a file for each object.
	root string
}

// Fault is what goes wrong.
type Fault = front.Fault

// Start starts a server with buckets, for as long as the test runs.
func Start(t testing.TB, buckets ...string) *Server {
	t.Helper()
	s := &Server{root: t.TempDir()}
	for _, bucket := range buckets {
		if err := os.Mkdir(filepath.Join(s.root, bucket), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.run(t); err != nil {
		t.Fatal(err)
	}
	s.Front = front.Start(t, s.Address)
	return s
}

// Fill writes an object to the server's disk.
func (s *Server) Fill(t testing.TB, bucket, key string, data []byte) {
	t.Helper()
	file := filepath.Join(s.root, bucket, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Drop removes an object from the server's disk.
func (s *Server) Drop(t testing.TB, bucket, key string) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.root, bucket, filepath.FromSlash(key))); err != nil {
		t.Fatal(err)
	}
}

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

// run starts the process.
func (s *Server) run(t testing.TB) error {
	t.Helper()
	program, err := find()
	if err != nil {
		return err
	}
	sidecar := t.TempDir()
	s.Process, err = front.StartProcess(t, program, func(host string, port int) []string {
		return []string{"--quiet", "--port", net.JoinHostPort(host, strconv.Itoa(port)), "posix", "--sidecar", sidecar, s.root}
	}, "ROOT_ACCESS_KEY="+AccessKeyID, "ROOT_SECRET_KEY="+SecretAccessKey)
	return err
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
