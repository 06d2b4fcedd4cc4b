// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Command fetch-onnxruntime puts the pinned ONNX Runtime library for this platform into a
// folder and verifies its SHA-256. It asks, in this order, pip, npm and the project's release
// page, so that it works behind a proxy that serves only package registries.
//
//	go run ./hack/fetch-onnxruntime -o bin/onnxruntime/1.30.0
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

func main() {
	out := flag.String("o", filepath.Join("bin", "onnxruntime", version), "folder for the library")
	target := flag.String("platform", runtime.GOOS+"/"+runtime.GOARCH, "platform to fetch for")
	only := flag.String("source", "", "ask only this source: pip, npm or release")
	flag.Parse()
	if err := run(*out, *target, *only); err != nil {
		fmt.Fprintln(os.Stderr, "fetch-onnxruntime:", err)
		os.Exit(1)
	}
}

func run(out, target, only string) error {
	p, ok := platforms[target]
	if !ok {
		return fmt.Errorf("no ONNX Runtime %s is pinned for %s; set ONNXRUNTIME_LIB to a library of your own", version, target)
	}
	library := filepath.Join(out, p.libraryName)
	if sum, err := digest(library); err == nil && (sum == p.librarySHA || sum == p.npmSHA) {
		return nil
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	var failures []error
	for _, s := range sources() {
		if only != "" && s.name != only {
			continue
		}
		start := time.Now()
		if err := install(s, p, library); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", s.name, err))
			continue
		}
		fmt.Printf("ONNX Runtime %s for %s from %s in %.1f s: %s\n", version, target, s.name, time.Since(start).Seconds(), library)
		return nil
	}
	return fmt.Errorf("no source gave ONNX Runtime %s; install pip or npm, or set ONNXRUNTIME_LIB to a library of your own:\n%w",
		version, errors.Join(failures...))
}

// install fetches the library from a source, verifies it and moves it to its place in one
// step, so that a half-written library is never found there.
func install(s source, p platform, library string) error {
	dir, err := os.MkdirTemp(filepath.Dir(library), ".fetch-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	archive, err := s.fetch(dir, p)
	if err != nil {
		return err
	}
	part := filepath.Join(dir, p.libraryName)
	if err := extract(archive, s.member(p), part); err != nil {
		return err
	}
	sum, err := digest(part)
	if err != nil {
		return err
	}
	if want := s.sha256(p); sum != want {
		return fmt.Errorf("%s in %s has SHA-256 %s, want %s", s.member(p), filepath.Base(archive), sum, want)
	}
	return os.Rename(part, library)
}

// digest returns the SHA-256 of a file in hexadecimal.
func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
