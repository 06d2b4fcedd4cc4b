// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	onnx "github.com/yalue/onnxruntime_go"
)

// cudaProvider is the library, beside ONNX Runtime's own, that computes with CUDA.
const cudaProvider = "libonnxruntime_providers_cuda.so"

// identityModel is an ONNX file of one Identity node, y = x: the smallest session that
// shows whether a device works. (ir_version 7, opset 13, x and y float[1].)
const identityModel = "\x08\x07:7\n\x10\n\x01x\x12\x01y\"\x08Identity\x12\x01g" +
	"Z\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01" +
	"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"

// chooseDevice tries CUDA where its provider library is there, and falls back to the
// CPU saying why. Only a device that was asked for by name can fail to be there.
func chooseDevice(libraryPath string, wanted DeviceType) (Device, error) {
	if wanted == CPU {
		return Device{Type: CPU, Message: "the CPU was asked for"}, nil
	}
	err := probeCUDA(libraryPath)
	switch {
	case err == nil:
		return Device{Type: CUDA, Message: "CUDA works"}, nil
	case wanted == CUDA:
		return Device{}, fmt.Errorf("CUDA can't be used: %w", err)
	}
	return Device{Type: CPU, Message: "CUDA can't be used: " + firstLine(err)}, nil
}

// probeCUDA makes a session on the first CUDA device.
func probeCUDA(libraryPath string) error {
	provider := filepath.Join(filepath.Dir(libraryPath), cudaProvider)
	if _, err := os.Stat(provider); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is not beside ONNX Runtime's library", cudaProvider)
	} else if err != nil {
		return err
	}
	options, err := sessionOptions(sessionConfig{device: CUDA, threads: 1, level: onnx.GraphOptimizationLevelEnableAll})
	if err != nil {
		return err
	}
	defer release(options)
	session, err := onnx.NewDynamicAdvancedSessionWithONNXData([]byte(identityModel), []string{"x"}, []string{"y"}, options)
	if err != nil {
		return err
	}
	return session.Destroy()
}

// allowSpinning keys whether threads that wait for each other keep their CPU busy. It
// gains a little on an idle machine, and on one where others work as well it costs most
// of the time: a waiting thread takes the CPU from the one it waits for.
const allowSpinning = "session.intra_op.allow_spinning"

// optimization is how far graphs are optimised for the CPU: all that there is. Making the
// blocked layouts of convolutions takes most of the time of loading a model, and pays for
// itself within a picture or two; a prepared graph has them already. docs/performance.md has
// the figures.
const optimization = onnx.GraphOptimizationLevelEnableAll

// Keys of options for writing a prepared graph.
const (
	weightsFile    = "session.optimized_model_external_initializers_file_name"
	weightsMinimum = "session.optimized_model_external_initializers_min_size_in_bytes"
	savePrepacked  = "session.save_external_prepacked_constant_initializers"
)

// sessionConfig is what sessions differ in.
type sessionConfig struct {
	device  DeviceType
	threads int
	level   onnx.GraphOptimizationLevel
	// save is the file to write the graph to as it was optimised; "" for none.
	save string
}

// sessionOptions makes the options of a session. The caller destroys them.
func sessionOptions(config sessionConfig) (*onnx.SessionOptions, error) {
	options, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = options.SetIntraOpNumThreads(config.threads)
	if err == nil {
		err = options.SetGraphOptimizationLevel(config.level)
	}
	if err == nil {
		err = options.SetLogSeverityLevel(onnx.LoggingLevelError)
	}
	if err == nil {
		err = options.AddSessionConfigEntry(allowSpinning, "0")
	}
	if err == nil && config.save != "" {
		err = saveTo(options, config.save)
	}
	if err == nil && config.device == CUDA {
		err = appendCUDA(options)
	}
	if err != nil {
		return nil, errors.Join(err, options.Destroy())
	}
	return options, nil
}

// saveTo has a session write its graph once it is optimised, and beside it the weights in
// the layout of the kernels.
func saveTo(options *onnx.SessionOptions, file string) error {
	if err := options.SetOptimizedModelFilePath(file); err != nil {
		return err
	}
	for key, value := range map[string]string{weightsFile: preparedWeights, weightsMinimum: "1024", savePrepacked: "1"} {
		if err := options.AddSessionConfigEntry(key, value); err != nil {
			return err
		}
	}
	return nil
}

// appendCUDA makes a session compute on the first CUDA device.
func appendCUDA(options *onnx.SessionOptions) error {
	cuda, err := onnx.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer release(cuda)
	return options.AppendExecutionProviderCUDA(cuda)
}

// firstLine keeps a message fit for a status field: ONNX Runtime's can be long.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
