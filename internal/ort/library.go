// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"
)

// LibraryEnv is the environment variable that overrides where ONNX Runtime's shared
// library is looked for.
const LibraryEnv = "ONNXRUNTIME_LIB"

// developmentFolder is where `make onnxruntime` puts the library, below the module.
const developmentFolder = "bin/onnxruntime/1.30.0"

// library is ONNX Runtime's shared library, of which a process has one. It is opened by
// the first session and stays open: closing it is not safe once CUDA was used.
var library struct {
	sync.Mutex
	path string
}

// openLibrary opens the shared library, unless that was done before, and gives its path.
func openLibrary(path string) (string, error) {
	if path == "" {
		path = findLibrary()
	}
	library.Lock()
	defer library.Unlock()
	if library.path != "" {
		if library.path != path {
			return "", fmt.Errorf("ONNX Runtime is open from %s already, so that %s can't be used", library.path, path)
		}
		return path, nil
	}
	onnx.SetSharedLibraryPath(path)
	if err := onnx.InitializeEnvironment(onnx.WithLogLevelError()); err != nil {
		return "", fmt.Errorf("ONNX Runtime's library %s can't be used; run `make onnxruntime` or set %s to its path: %w", path, LibraryEnv, err)
	}
	if err := openAPI(path); err != nil {
		err = errors.Join(err, onnx.DestroyEnvironment())
		return "", fmt.Errorf("ONNX Runtime's library %s can't be used: %w", path, err)
	}
	library.path = path
	return path, nil
}

// findLibrary gives the first of these that exists: what the environment names, a
// library installed with the executable, the one that `make onnxruntime` fetched for
// the module around the working directory. Failing all, the system's loader looks.
func findLibrary() string {
	if path := os.Getenv(LibraryEnv); path != "" {
		return path
	}
	name := libraryName()
	var candidates []string
	if executable, err := os.Executable(); err == nil {
		folder := filepath.Dir(executable)
		candidates = append(candidates, filepath.Join(folder, name), filepath.Join(folder, "..", "lib", name))
	}
	if root, ok := moduleRoot(); ok {
		candidates = append(candidates, filepath.Join(root, developmentFolder, name))
	}
	for _, path := range candidates {
		if _, err := os.Stat(path); err == nil {
			return filepath.Clean(path)
		}
	}
	return name
}

func libraryName() string {
	if runtime.GOOS == "darwin" {
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}

// moduleRoot finds the folder with go.mod at or above the working directory.
func moduleRoot() (string, bool) {
	folder, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, true
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", false
		}
		folder = parent
	}
}
