// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Names of the images. `make test-e2e` writes the first two into the manifests.
const (
	managerImage = "localhost/atelier-manager:e2e"
	runnerImage  = "localhost/atelier-runner:e2e"
	pauseImage   = "localhost/pause:e2e"
)

// image is a container image of one layer.
type image struct {
	name string
	// files are where files of the image come from, by their paths in it.
	files  map[string]string
	config ociv1.ImageConfig
}

// nonRoot is the user of both images, as in the Dockerfile.
const nonRoot = "65532:65532"

// images are made as the Dockerfile makes them, of the programs as they were built here and
// the libraries that these need.
func images(root, pause string) ([]image, error) {
	manager, runner := filepath.Join(root, "bin", "manager"), filepath.Join(root, "bin", "runner")
	library := os.Getenv("ONNXRUNTIME_LIB")
	if library == "" {
		return nil, fmt.Errorf("ONNXRUNTIME_LIB must name ONNX Runtime's library")
	}
	files := map[string]string{"usr/local/bin/runner": runner, "usr/local/lib/onnxruntime/libonnxruntime.so": library}
	for _, program := range []string{runner, library} {
		libraries, err := librariesOf(program)
		if err != nil {
			return nil, err
		}
		for _, library := range libraries {
			files[library[1:]] = library
		}
	}
	return []image{
		{managerImage, map[string]string{"manager": manager}, ociv1.ImageConfig{User: nonRoot, Entrypoint: []string{"/manager"}}},
		{runnerImage, files, ociv1.ImageConfig{
			User: nonRoot, Entrypoint: []string{"/usr/local/bin/runner"}, Cmd: []string{"serve"},
			Env: []string{"ONNXRUNTIME_LIB=/usr/local/lib/onnxruntime/libonnxruntime.so"},
		}},
		{pauseImage, map[string]string{"pause": pause}, ociv1.ImageConfig{Entrypoint: []string{"/pause"}}},
	}, nil
}

// libraryPath finds the paths in what ldd prints.
var libraryPath = regexp.MustCompile(`(?m)(?:=> )?(/\S+) \(0x`)

// librariesOf are the shared libraries that a program is loaded with.
func librariesOf(program string) ([]string, error) {
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w", program, err)
	}
	var found []string
	for _, match := range libraryPath.FindAllStringSubmatch(string(out), -1) {
		found = append(found, match[1])
	}
	return found, nil
}

// blob is a file of an image, named by its digest.
type blob struct {
	content    []byte
	descriptor ociv1.Descriptor
}

func newBlob(mediaType string, content []byte) blob {
	return blob{content, ociv1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}}
}

// write writes the image as an archive in the OCI layout, which `ctr image import` reads.
func (i image) write(file string) error {
	content, err := i.layer()
	if err != nil {
		return fmt.Errorf("image %s: %w", i.name, err)
	}
	layer := newBlob(ociv1.MediaTypeImageLayer, content)
	config, err := marshalBlob(ociv1.MediaTypeImageConfig, ociv1.Image{
		Platform: ociv1.Platform{OS: "linux", Architecture: runtime.GOARCH},
		Config:   i.config,
		RootFS:   ociv1.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.descriptor.Digest}},
	})
	if err != nil {
		return err
	}
	manifest, err := marshalBlob(ociv1.MediaTypeImageManifest, ociv1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ociv1.MediaTypeImageManifest,
		Config: config.descriptor, Layers: []ociv1.Descriptor{layer.descriptor},
	})
	if err != nil {
		return err
	}
	manifest.descriptor.Annotations = map[string]string{"io.containerd.image.name": i.name}
	index, err := json.Marshal(ociv1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ociv1.MediaTypeImageIndex,
		Manifests: []ociv1.Descriptor{manifest.descriptor},
	})
	if err != nil {
		return err
	}
	files := map[string][]byte{ociv1.ImageLayoutFile: []byte(`{"imageLayoutVersion": "1.0.0"}`), ociv1.ImageIndexFile: index}
	for _, b := range []blob{layer, config, manifest} {
		files[path.Join(ociv1.ImageBlobsDir, "sha256", b.descriptor.Digest.Encoded())] = b.content
	}
	return writeArchive(file, files)
}

func marshalBlob(mediaType string, value any) (blob, error) {
	content, err := json.Marshal(value)
	return newBlob(mediaType, content), err
}

// layer is the root file system. Its files belong to root and can be written by nobody else.
func (i image) layer() ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	made := map[string]bool{".": true}
	for _, name := range slices.Sorted(maps.Keys(i.files)) {
		if err := addDirectories(archive, path.Dir(name), made); err != nil {
			return nil, err
		}
		content, err := os.ReadFile(i.files[name])
		if err != nil {
			return nil, err
		}
		if err := addFile(archive, name, content, 0o755); err != nil {
			return nil, err
		}
	}
	err := archive.Close()
	return buffer.Bytes(), err
}

func addDirectories(archive *tar.Writer, name string, made map[string]bool) error {
	if made[name] {
		return nil
	}
	if err := addDirectories(archive, path.Dir(name), made); err != nil {
		return err
	}
	made[name] = true
	return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: time.Unix(0, 0)})
}

func addFile(archive *tar.Writer, name string, content []byte, mode int64) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}

func writeArchive(file string, files map[string][]byte) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = closeAfter(out, err) }()
	archive := tar.NewWriter(out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := addFile(archive, name, files[name], 0o644); err != nil {
			return err
		}
	}
	return archive.Close()
}

func closeAfter(c io.Closer, err error) error {
	if closing := c.Close(); err == nil {
		return closing
	}
	return err
}
