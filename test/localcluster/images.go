// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package localcluster

import (
	"os"
	"path/filepath"
	"runtime"

	"github.com/atelier-dev/atelier/test/localcluster/processnode"
)

// onnxRuntimeVersion is the one that `make onnxruntime` fetches.
const onnxRuntimeVersion = "1.30.0"

// onnxRuntimeEnv names the ONNX Runtime library for the runner.
const onnxRuntimeEnv = "ONNXRUNTIME_LIB"

// Images are the two images of the repository at root, as `make build` leaves their
// programs, and "shell", which has nothing but the host's /bin/sh.
func Images(root string) map[string]processnode.Image {
	manager, runner := filepath.Join(root, "bin", "manager"), filepath.Join(root, "bin", "runner")
	library := os.Getenv(onnxRuntimeEnv)
	if library == "" {
		library = filepath.Join(root, "bin", "onnxruntime", onnxRuntimeVersion, libraryName())
	}
	return map[string]processnode.Image{
		"atelier-manager": {
			Entrypoint: []string{manager},
			Files:      map[string]string{"/manager": manager},
		},
		"atelier-runner": {
			Entrypoint: []string{runner},
			Cmd:        []string{"serve"},
			Env:        []string{onnxRuntimeEnv + "=" + library},
			Files:      map[string]string{"/usr/local/bin/runner": runner},
		},
		"shell": {Cmd: []string{"/bin/sh"}},
	}
}

func libraryName() string {
	if runtime.GOOS == "darwin" {
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}
