// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"io/fs"
	"os"
	"runtime"
	"testing"
	"testing/fstest"
)

// files makes a file system of names and contents.
func files(pairs ...string) fs.FS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func TestReadLimit(t *testing.T) {
	const meminfo = "MemTotal:       16 kB\nMemFree:         4 kB\n"
	machine := Limit{Bytes: 16384, Source: "the machine's memory"}
	for _, c := range []struct {
		name string
		root fs.FS
		want Limit
	}{
		{"nothing is told", files(), Limit{}},
		{"no group", files("proc/meminfo", meminfo), machine},
		{"meminfo is not understood", files("proc/meminfo", "MemTotal: lots\n"), Limit{}},
		{"meminfo overflows", files("proc/meminfo", "MemTotal: 9223372036854775807 kB\n"), Limit{}},
		{"version 2, own group", files("proc/meminfo", meminfo, "proc/self/cgroup", "0::/pod/c\n", "sys/fs/cgroup/pod/c/memory.max", "4096\n"),
			Limit{Bytes: 4096, Source: "the limit in /sys/fs/cgroup/pod/c/memory.max"}},
		{"version 2, a group around it is stricter", files("proc/meminfo", meminfo, "proc/self/cgroup", "0::/pod/c\n",
			"sys/fs/cgroup/pod/c/memory.max", "8192\n", "sys/fs/cgroup/pod/memory.max", "5000\n"),
			Limit{Bytes: 5000, Source: "the limit in /sys/fs/cgroup/pod/memory.max"}},
		{"version 2, seen as the root from inside", files("proc/meminfo", meminfo, "proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "4096\n"),
			Limit{Bytes: 4096, Source: "the limit in /sys/fs/cgroup/memory.max"}},
		{"version 2, path of outside seen from inside", files("proc/meminfo", meminfo, "proc/self/cgroup", "0::/kubepods/pod/c\n", "sys/fs/cgroup/memory.max", "4096\n"),
			Limit{Bytes: 4096, Source: "the limit in /sys/fs/cgroup/memory.max"}},
		{"version 2 without a limit", files("proc/meminfo", meminfo, "proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "max\n"), machine},
		{"version 1", files("proc/meminfo", meminfo, "proc/self/cgroup", "4:cpu:/a\n5:memory:/a\n",
			"sys/fs/cgroup/cpu/a/memory.limit_in_bytes", "1\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4096\n"),
			Limit{Bytes: 4096, Source: "the limit in /sys/fs/cgroup/memory/a/memory.limit_in_bytes"}},
		{"version 1 without a limit", files("proc/meminfo", meminfo, "proc/self/cgroup", "5:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"), machine},
		{"garbage", files("proc/meminfo", meminfo, "proc/self/cgroup", "x\n:::\n0::/../..\n", "sys/fs/cgroup/memory.max", "-1\n"), machine},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ReadLimit(c.root); got != c.want {
				t.Errorf("got %+v; want %+v", got, c.want)
			}
		})
	}
}

// TestReadLimitHere asks the system that the test runs on.
func TestReadLimitHere(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	limit := ReadLimit(os.DirFS("/"))
	if limit.Bytes < 64<<20 || limit.Source == "" {
		t.Errorf("got %+v; a machine that runs this has more", limit)
	}
}
