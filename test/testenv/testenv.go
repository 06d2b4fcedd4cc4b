// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package testenv starts a real API server for tests and installs config/default on it,
// as kubectl does.
package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/atelier-dev/atelier/test/internal/repository"
)

// assetsEnv names the directory of etcd, kube-apiserver and kubectl.
const assetsEnv = "KUBEBUILDER_ASSETS"

// builtAssets is where `make` puts them, relative to the repository.
const builtAssets = "bin/k8s/v1.37.2"

// startTimeout is for machines that build and test other things at the same time.
const startTimeout = 2 * time.Minute

// Environment is an API server with config/default installed. There is no controller
// manager: nothing is garbage collected, and no Deployment starts pods.
type Environment struct {
	// Config is the cluster administrator's.
	Config *rest.Config

	root string
	// dir holds the kubeconfig; empty until it was made.
	dir    string
	server *envtest.Environment
}

// Start starts the API server. Stop must be called, also after an error.
func Start() (*Environment, error) {
	root, err := repository.Root()
	if err != nil {
		return nil, err
	}
	assets := os.Getenv(assetsEnv)
	if assets == "" {
		assets = filepath.Join(root, builtAssets)
	}
	e := &Environment{root: root, server: &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		ControlPlaneStartTimeout: startTimeout,
	}}
	if e.Config, err = e.server.Start(); err != nil {
		return e, fmt.Errorf("API server from %s (set %s, or run make): %w", assets, assetsEnv, err)
	}
	// No test waits for the client's own limiter.
	e.Config.QPS = -1
	return e, e.install()
}

// Stop ends the API server and removes its files.
func (e *Environment) Stop() error {
	if e == nil {
		return nil
	}
	err := e.server.Stop()
	if e.dir != "" {
		err = errors.Join(err, os.RemoveAll(e.dir))
	}
	return err
}

// install applies config/default and waits until its kinds are served.
func (e *Environment) install() error {
	var err error
	if e.dir, err = os.MkdirTemp("", "atelier-testenv-"); err != nil {
		return err
	}
	if err := os.WriteFile(e.kubeconfig(), e.server.KubeConfig, 0o600); err != nil {
		return err
	}
	if out, err := e.Kubectl("apply", "--server-side", "-k", filepath.Join(e.root, "config/default")); err != nil {
		return fmt.Errorf("config/default: %w\n%s", err, out)
	}
	if out, err := e.Kubectl("wait", "--for=condition=Established", "crd", "--all"); err != nil {
		return fmt.Errorf("config/crd: %w\n%s", err, out)
	}
	return nil
}

func (e *Environment) kubeconfig() string { return filepath.Join(e.dir, "kubeconfig") }

// Kubectl runs kubectl as the cluster administrator, in the repository's root, and returns
// what it prints to both of its outputs.
func (e *Environment) Kubectl(args ...string) (string, error) {
	command := exec.Command(e.server.ControlPlane.KubectlPath, append([]string{"--kubeconfig", e.kubeconfig()}, args...)...)
	command.Dir = e.root
	out, err := command.CombinedOutput()
	return string(out), err
}

// ServiceAccount returns the configuration of a client that acts as a service account.
// Extra is what a token bound to an object carries besides, such as its pod's name.
func (e *Environment) ServiceAccount(namespace, name string, extra map[string][]string) *rest.Config {
	return AsServiceAccount(e.Config, namespace, name, extra)
}

// Pod returns the configuration of a client that has the token of a pod's own service
// account.
func (e *Environment) Pod(namespace, name, uid, serviceAccount string) *rest.Config {
	return AsPod(e.Config, namespace, name, uid, serviceAccount)
}

// AsServiceAccount is Environment.ServiceAccount for any cluster's administrator.
func AsServiceAccount(admin *rest.Config, namespace, name string, extra map[string][]string) *rest.Config {
	config := rest.CopyConfig(admin)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: fmt.Sprintf("system:serviceaccount:%s:%s", namespace, name),
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		Extra:    extra,
	}
	return config
}

// AsPod is Environment.Pod for any cluster's administrator.
func AsPod(admin *rest.Config, namespace, name, uid, serviceAccount string) *rest.Config {
	return AsServiceAccount(admin, namespace, serviceAccount, map[string][]string{
		"authentication.kubernetes.io/pod-name": {name},
		"authentication.kubernetes.io/pod-uid":  {uid},
	})
}
