// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/atelier-dev/atelier/internal/incluster"
)

func TestServeSaysWhatIsMissing(t *testing.T) {
	for _, test := range []struct{ name, podUID, want string }{
		{"", "uid", runnerNameEnv},
		{"default-0", "", podUIDEnv},
		{"default-0", "uid", podNamespaceEnv},
	} {
		t.Setenv(runnerNameEnv, test.name)
		t.Setenv(podUIDEnv, test.podUID)
		t.Setenv(podNamespaceEnv, "")
		t.Setenv(incluster.DirectoryEnv, t.TempDir())
		command := newServeCommand()
		command.SetArgs(nil)
		err := command.ExecuteContext(t.Context())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("name %q, pod uid %q: error %v does not name %s", test.name, test.podUID, err, test.want)
		}
	}
}

func TestPreparedGraphsNeedACache(t *testing.T) {
	t.Setenv(runnerNameEnv, "default-0")
	t.Setenv(podUIDEnv, "uid")
	t.Setenv(podNamespaceEnv, "studio")
	t.Setenv(cacheDirEnv, "")
	t.Setenv(prepareGraphsEnv, "true")
	command := newServeCommand()
	command.SetArgs(nil)
	if err := command.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), cacheDirEnv) {
		t.Errorf("error %v does not name %s", err, cacheDirEnv)
	}
}

func TestProcessStart(t *testing.T) {
	if age := time.Since(processStart()); age <= 0 || age > time.Hour {
		t.Errorf("this process started %s ago", age)
	}
}
