// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// sources in the order in which they are asked. pip and npm find their registries
// themselves, as the machine they run on is set up.
func sources() []source {
	library := func(p platform) string { return p.librarySHA }
	return []source{
		{name: "pip", fetch: fromPip, member: func(p platform) string { return p.wheelMember }, sha256: library},
		{name: "npm", fetch: fromNpm, member: func(p platform) string { return p.npmMember }, sha256: func(p platform) string { return p.npmSHA }},
		{name: "release", fetch: fromRelease, member: releaseMember, sha256: library},
	}
}

func fromPip(dir string, p platform) (string, error) {
	err := client(dir, "python3", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
		"--platform", p.wheelTag, "--python-version", "3.12", "--implementation", "cp", "-d", ".", "onnxruntime=="+version)
	if err != nil {
		return "", err
	}
	return theFile(dir, "*.whl")
}

func fromNpm(dir string, _ platform) (string, error) {
	if err := client(dir, "npm", "pack", "--silent", "onnxruntime-node@"+version); err != nil {
		return "", err
	}
	return theFile(dir, "*.tgz")
}

func fromRelease(dir string, p platform) (string, error) {
	url := fmt.Sprintf("https://github.com/microsoft/onnxruntime/releases/download/v%s/%s.tgz", version, p.release)
	archive := filepath.Join(dir, p.release+".tgz")
	if err := download(url, archive); err != nil {
		return "", err
	}
	if sum, err := digest(archive); err != nil || sum != p.releaseSHA {
		return "", errors.Join(err, fmt.Errorf("%s has SHA-256 %s, want %s", url, sum, p.releaseSHA))
	}
	return archive, nil
}

func releaseMember(p platform) string {
	name := strings.Replace(p.libraryName, ".so", ".so."+version, 1)
	name = strings.Replace(name, ".dylib", "."+version+".dylib", 1)
	return p.release + "/lib/" + name
}

// client runs a package client in a folder; what it printed is part of the error.
func client(dir, name string, args ...string) error {
	if _, err := exec.LookPath(name); err != nil {
		return err
	}
	var output bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(output.String()))
	}
	return nil
}

func theFile(dir, pattern string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("want one file %s in %s, have %d", pattern, dir, len(files))
	}
	if err != nil {
		return "", err
	}
	return files[0], nil
}

func download(url, path string) error {
	response, err := (&http.Client{Timeout: 10 * time.Minute}).Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return writeFile(path, response.Body)
}

// extract writes one member of a wheel (a zip) or of a gzipped tar to a file.
func extract(archive, member, path string) error {
	if strings.HasSuffix(archive, ".whl") {
		return extractZip(archive, member, path)
	}
	return extractTar(archive, member, path)
}

func extractZip(archive, member, path string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }()
	r, err := z.Open(member)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(archive), err)
	}
	defer func() { _ = r.Close() }()
	return writeFile(path, r)
}

func extractTar(archive, member, path string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(archive), err)
	}
	for r := tar.NewReader(unzipped); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s holds no %s", filepath.Base(archive), member)
		}
		if err != nil {
			return err
		}
		if strings.TrimPrefix(header.Name, "./") == member {
			return writeFile(path, r)
		}
	}
}

func writeFile(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
