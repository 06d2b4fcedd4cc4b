// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package localcluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// KubernetesVersion is the version that the repository pins and builds.
const KubernetesVersion = "v1.37.2"

// assetsEnv names a directory with binaries of the control plane, as setup-envtest
// fetches them.
const assetsEnv = "KUBEBUILDER_ASSETS"

// binaries are paths of the programs a cluster is made of.
type binaries struct {
	etcd, apiServer, controllerManager, scheduler, kubectl string
}

// findBinaries looks for each program in KUBEBUILDER_ASSETS, then in what `make
// controlplane` builds under root: setup-envtest brings no controller manager and no
// scheduler, so that the two are often used together.
func findBinaries(root string) (binaries, error) {
	dirs := []string{filepath.Join(root, "bin", "k8s", KubernetesVersion)}
	if assets := os.Getenv(assetsEnv); assets != "" {
		dirs = append([]string{assets}, dirs...)
	}
	var found binaries
	var missing []string
	for name, path := range map[string]*string{
		"etcd":                    &found.etcd,
		"kube-apiserver":          &found.apiServer,
		"kube-controller-manager": &found.controllerManager,
		"kube-scheduler":          &found.scheduler,
		"kubectl":                 &found.kubectl,
	} {
		if *path = findExecutable(dirs, name); *path == "" {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		return binaries{}, fmt.Errorf("no %s in %s: run `make controlplane`, or name a directory that has them in %s",
			strings.Join(missing, ", "), strings.Join(dirs, " or "), assetsEnv)
	}
	return found, nil
}

func findExecutable(dirs []string, name string) string {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}
