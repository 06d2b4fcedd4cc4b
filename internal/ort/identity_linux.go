// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
)

// processorFeatures names what the processor can do, by which ONNX Runtime chooses its
// kernels and with them the layout of weights.
var processorFeatures = sync.OnceValues(func() (string, error) {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	var found string
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "processor":
			if found != "" {
				return hashed(found), nil // One processor is like the others.
			}
		case "model name", "flags", "CPU implementer", "CPU part", "Features":
			found += value
		}
	}
	if found == "" {
		return "", errors.New("/proc/cpuinfo does not say what the processor can do")
	}
	return hashed(found), nil
})

// version tells a file from what it was before any change, and from any other.
func version(info os.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.ModTime().String()
	}
	return fmt.Sprintf("%d bytes, inode %d, modified %d.%09d, changed %d.%09d", stat.Size, stat.Ino,
		stat.Mtim.Sec, stat.Mtim.Nsec, stat.Ctim.Sec, stat.Ctim.Nsec)
}
