// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// environment is an API server that knows Runners. It starts when the first test needs it.
var environment = &envtest.Environment{
	CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases", "generation.atelier.dev_runners.yaml")},
	ErrorIfCRDPathMissing: true,
	BinaryAssetsDirectory: filepath.Join("..", "..", "bin", "k8s", "v1.37.2"),
}

var startEnvironment = sync.OnceValues(environment.Start)

// apiServer gives the configuration of an administrator of the API server.
func apiServer(t *testing.T) *rest.Config {
	t.Helper()
	config, err := startEnvironment()
	if err != nil {
		t.Fatalf("starting the API server, whose programs must be in %s or in $KUBEBUILDER_ASSETS: %v", environment.BinaryAssetsDirectory, err)
	}
	return config
}

// libraryLog is what the libraries log, which reaches a runner's log too.
var libraryLog lockedBuffer

func TestMain(m *testing.M) {
	log := slog.New(slog.NewJSONHandler(&libraryLog, nil))
	klog.SetSlogLogger(log)
	ctrllog.SetLogger(logr.FromSlogHandler(log.Handler()))
	code := m.Run()
	if environment.Config != nil {
		if err := environment.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the API server:", err)
		}
	}
	os.Exit(code)
}
