// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mount is a path in a container and the host's path that stands for it.
type mount struct {
	container, host string
}

// rewriter makes a container's arguments and environment right for a process that shares
// the host's files and network: paths below a mount become paths below the directory
// that holds the volume, and declared ports become the loopback ports given in exchange.
type rewriter struct {
	mounts []mount     // longest container path first
	ports  map[int]int // containerPort to the port on the host's loopback address
}

func newRewriter(mounts []mount, ports map[int]int) rewriter {
	mounts = slices.Clone(mounts)
	slices.SortStableFunc(mounts, func(a, b mount) int { return len(b.container) - len(a.container) })
	return rewriter{mounts: mounts, ports: ports}
}

// rewrite returns s with paths and addresses replaced.
func (r rewriter) rewrite(s string) string { return r.rewritePorts(r.rewritePaths(s)) }

// rewritePaths replaces mount paths where a whole path stands, as in --models-dir=/models
// or in PATH's a:b, and not within another path or name.
func (r rewriter) rewritePaths(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		if i == 0 || !inPath(s[i-1]) {
			if mount, ok := r.mountAt(s[i:]); ok {
				out.WriteString(mount.host)
				i += len(mount.container)
				continue
			}
		}
		out.WriteByte(s[i])
		i++
	}
	return out.String()
}

// mountAt finds the mount whose path s begins with, the innermost where mounts nest.
func (r rewriter) mountAt(s string) (mount, bool) {
	for _, m := range r.mounts {
		rest, ok := strings.CutPrefix(s, m.container)
		if ok && (rest == "" || rest[0] == '/' || !inPath(rest[0])) {
			return m, true
		}
	}
	return mount{}, false
}

// inPath reports whether a byte belongs to the path it stands in, rather than ends it.
func inPath(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("/._-~+%@", b) >= 0
}

// hostPath is where a container's path is on the host: the path itself where no volume
// is mounted.
func (r rewriter) hostPath(path string) string {
	if mount, ok := r.mountAt(path); ok {
		return mount.host + strings.TrimPrefix(path, mount.container)
	}
	return path
}

// listenAddress matches the address of a local server, such as :8080, 0.0.0.0:8080 or
// http://localhost:8080/. A port on its own can't be told from any other number.
var listenAddress = regexp.MustCompile(`(^|[=,\s"'/])((?:0\.0\.0\.0|127\.0\.0\.1|localhost|\[::\]|\[::1\])?):(\d{1,5})\b`)

func (r rewriter) rewritePorts(s string) string {
	return listenAddress.ReplaceAllStringFunc(s, func(match string) string {
		parts := listenAddress.FindStringSubmatch(match)
		declared, err := strconv.Atoi(parts[3])
		if err != nil {
			return match
		}
		host, ok := r.ports[declared]
		if !ok {
			return match
		}
		return parts[1] + "127.0.0.1:" + strconv.Itoa(host)
	})
}
