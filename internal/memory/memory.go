// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package memory says how much memory this process can have: the machine's, or what its
// control groups allow.
package memory

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// Limit is the most memory that the process can ever have.
type Limit struct {
	// Bytes of it; 0 where the system does not tell.
	Bytes int64
	// Source says who sets it, for people.
	Source string
}

// ReadLimit finds the least of the machine's memory and the limits of the control groups
// that the process is in. root is the file system's root: os.DirFS("/").
func ReadLimit(root fs.FS) Limit {
	var least Limit
	for _, limit := range append(groupLimits(root), machine(root)) {
		if limit.Bytes > 0 && (least.Bytes == 0 || limit.Bytes < least.Bytes) {
			least = limit
		}
	}
	return least
}

// machine is what the machine has.
func machine(root fs.FS) Limit {
	return Limit{Bytes: kibibytes(root, "proc/meminfo", "MemTotal"), Source: "the machine's memory"}
}

// Available is how many bytes more the process can have without anything being pushed out
// that is in use: what the machine has left, and what the limit leaves beside the process's
// own. Other processes of the same control groups are not counted. It is false where the
// system does not tell.
func Available(root fs.FS) (size int64, known bool) {
	left := kibibytes(root, "proc/meminfo", "MemAvailable")
	if left == 0 {
		return 0, false
	}
	if limit := ReadLimit(root).Bytes; limit > 0 {
		left = min(left, limit-kibibytes(root, "proc/self/status", "RssAnon"))
	}
	return max(left, 0), true
}

// kibibytes is the value of a line such as "MemTotal: 16 kB" in bytes; 0 where there is none.
func kibibytes(root fs.FS, file, name string) int64 {
	data, err := fs.ReadFile(root, file)
	if err != nil {
		return 0
	}
	for scanner := bufio.NewScanner(bytes.NewReader(data)); scanner.Scan(); {
		key, value, _ := strings.Cut(scanner.Text(), ":")
		if key != name {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64>>10 {
			return 0
		}
		return n << 10
	}
	return 0
}

// groupLimits are those of the process's control groups and of all groups around them, of
// both versions. In a container the file system may show its own group as the root.
func groupLimits(root fs.FS) []Limit {
	data, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	var limits []Limit
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		folder, file := "sys/fs/cgroup", "memory.max"
		switch {
		case fields[1] == "memory":
			folder, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case fields[1] != "":
			continue
		}
		for group := path.Clean("/" + fields[2]); ; group = path.Dir(group) {
			limits = append(limits, groupLimit(root, path.Join(folder, group, file)))
			if group == "/" {
				break
			}
		}
	}
	return limits
}

// groupLimit is the limit in one file. Without one it is "max", or a number that no machine
// has.
func groupLimit(root fs.FS, name string) Limit {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return Limit{}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil || n < 0 {
		return Limit{}
	}
	return Limit{Bytes: n, Source: "the limit in /" + name}
}
