// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/atelier-dev/atelier/internal/incluster"
	"github.com/atelier-dev/atelier/internal/modelstore/cache"
	"github.com/atelier-dev/atelier/internal/ort"
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

// TestPreparing says what follows from --prepare-graphs, with a cache and without.
func TestPreparing(t *testing.T) {
	c, err := cache.Open(cache.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	auto := ort.Options{Graphs: c, PrepareReloaded: true}
	if c.InMemory() {
		auto = ort.Options{}
	}
	for _, test := range []struct {
		when  string
		cache *cache.Cache
		want  ort.Options
		err   string
	}{
		{"auto", c, auto, ""},
		{"true", c, ort.Options{Graphs: c}, ""},
		{"false", c, ort.Options{}, ""},
		{"auto", nil, ort.Options{}, ""},
		{"true", nil, ort.Options{}, cacheDirEnv},
		{"false", nil, ort.Options{}, ""},
		{"yes", c, ort.Options{}, `--prepare-graphs or PREPARE_GRAPHS is "yes"; must be auto, true or false`},
		{"1", nil, ort.Options{}, `"1"; must be auto, true or false`},
	} {
		got, err := preparing(test.when, test.cache)
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s, with a cache %t: %+v, %v; want %+v and %q", test.when, test.cache != nil, got, err, test.want, test.err)
		}
	}
}

// TestPrepareGraphsFlag is auto unless the environment or the flag says otherwise.
func TestPrepareGraphsFlag(t *testing.T) {
	for _, test := range []struct {
		env  string
		args []string
		want string
	}{
		{"", nil, "auto"},
		{"false", nil, "false"},
		{"false", []string{"--prepare-graphs"}, "true"},
		{"false", []string{"--prepare-graphs=auto"}, "auto"},
	} {
		t.Setenv(prepareGraphsEnv, test.env)
		command := newServeCommand()
		if err := command.ParseFlags(test.args); err != nil {
			t.Fatal(err)
		}
		if got := command.Flag("prepare-graphs").Value.String(); got != test.want {
			t.Errorf("%q in the environment and %q: %s; want %s", test.env, test.args, got, test.want)
		}
	}
}

func TestProcessStart(t *testing.T) {
	if age := time.Since(processStart()); age <= 0 || age > time.Hour {
		t.Errorf("this process started %s ago", age)
	}
}
