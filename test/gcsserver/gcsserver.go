// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gcsserver starts fake-gcs-server, which speaks the language of Google Cloud
// Storage, for tests: on loopback, with its objects in memory, and a proxy before it that
// fails as it is told to. It takes any token.
package gcsserver

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-dev/atelier/test/front"
	"github.com/atelier-dev/atelier/test/internal/repository"
)

// Server is a server of Google Cloud Storage.
type Server struct {
	*front.Front
	// direct is the address without the proxy.
	direct string
}

// Start starts a server with buckets, for as long as the test runs.
func Start(t testing.TB, buckets ...string) *Server {
	t.Helper()
	program, err := find()
	if err != nil {
		t.Fatal(err)
	}
	process, err := front.StartProcess(t, program, func(host string, port int) []string {
		return []string{"-backend", "memory", "-scheme", "http", "-host", host, "-port", strconv.Itoa(port), "-log-level", "error"}
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Front: front.Start(t, process.Address), direct: "http://" + process.Address}
	for _, bucket := range buckets {
		if err := s.makeBucket(bucket); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *Server) makeBucket(name string) error {
	body := strings.NewReader(fmt.Sprintf(`{"name": %q}`, name))
	response, err := http.Post(s.direct+"/storage/v1/b", "application/json", body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = fmt.Errorf("bucket %s: %s", name, response.Status)
	}
	_ = response.Body.Close() // It is the status that counts.
	return err
}

// Object reads an object, past the proxy.
func (s *Server) Object(bucket, key string) ([]byte, error) {
	return s.get("/storage/v1/b/" + bucket + "/o/" + url.PathEscape(key) + "?alt=media")
}

// Keys are those of all objects of a bucket.
func (s *Server) Keys(bucket string) ([]string, error) {
	data, err := s.get("/storage/v1/b/" + bucket + "/o")
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct{ Name string }
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	var keys []string
	for _, item := range list.Items {
		keys = append(keys, item.Name)
	}
	return keys, nil
}

func (s *Server) get(path string) ([]byte, error) {
	response, err := http.Get(s.direct + path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // Only read from.
	data, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, response.Status)
	}
	return data, err
}

// find gives the program that `make gcsserver` builds.
func find() (string, error) {
	root, err := repository.Root()
	if err != nil {
		return "", err
	}
	program := filepath.Join(root, "bin", "fake-gcs-server")
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("run `make gcsserver` first: %w", err)
	}
	return program, nil
}
