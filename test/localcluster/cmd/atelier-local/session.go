// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atelier-dev/atelier/test/internal/repository"
	"github.com/atelier-dev/atelier/test/localcluster"
)

// Where things are in the repository.
const (
	manifests    = "config/default" // what gets installed, here as on a real cluster
	modelSample  = "config/samples/model.yaml"
	poolSample   = "config/samples/runnerpool.yaml"
	jobSample    = "config/samples/generationjob.yaml"
	modelsFolder = "test/testdata/models"
	outputFolder = "out"
)

// Names of the manager, for its logs.
const (
	managerNamespace  = "atelier-system"
	managerDeployment = "atelier-manager"
)

// namespace of everything that the subcommands apply.
const namespace = "default"

// session is a cluster with Atelier installed and a person to tell about it.
type session struct {
	out     *console
	root    string
	outputs string // the directory that the claim named outputs is bound to
	cluster *localcluster.Cluster
}

// startSession starts a cluster, installs Atelier, and gives the sample pool its volumes.
func startSession(ctx context.Context, out *console, gpus int) (*session, error) {
	root, err := repository.Root()
	if err != nil {
		return nil, err
	}
	s := &session{out: out, root: root}
	out.section("start")
	if err := s.showPrograms(); err != nil {
		return nil, err
	}
	s.cluster, err = localcluster.Start(ctx, localcluster.Options{
		Root: root, Nodes: []localcluster.NodeOptions{{Name: "node-1", GPUs: gpus}},
	})
	if err != nil {
		return nil, err
	}
	out.fact("control plane", "Kubernetes %s, ready in %s", localcluster.KubernetesVersion, seconds(s.cluster.StartTimes.ControlPlane))
	out.fact("node", "%d GPUs, pods run as processes, ready in %s", gpus, seconds(s.cluster.StartTimes.Nodes))
	if err := s.install(ctx); err != nil {
		s.explain()
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// showPrograms says what will run. It fails where something has to be built first.
func (s *session) showPrograms() error {
	for _, program := range []string{"manager", "runner"} {
		path := filepath.Join(s.root, "bin", program)
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("%s is not built (%w): run `make build`, or `make demo`, which does all that is needed", program, err)
		}
		s.out.fact(program, "bin/%s, %d MB, built %s ago", program, info.Size()>>20, time.Since(info.ModTime()).Round(time.Second))
	}
	return nil
}

// install applies the manifests and waits for the manager, then makes the volumes.
func (s *session) install(ctx context.Context) error {
	begin := time.Now()
	if err := s.cluster.Install(ctx, manifests); err != nil {
		return err
	}
	s.out.fact("manager", "installed from %s, Available in %s", manifests, seconds(time.Since(begin)))
	s.outputs = filepath.Join(s.cluster.Dir(), "outputs")
	for claim, path := range map[string]string{"models": filepath.Join(s.root, modelsFolder), "outputs": s.outputs} {
		if err := s.cluster.BindClaim(ctx, namespace, claim, path); err != nil {
			return err
		}
	}
	return nil
}

// applySample applies a file of the repository and shows it.
func (s *session) applySample(ctx context.Context, file string) error {
	data, err := os.ReadFile(filepath.Join(s.root, file))
	if err != nil {
		return err
	}
	return s.apply(ctx, file, string(data))
}

// apply applies a manifest and shows it, with what kubectl says.
func (s *session) apply(ctx context.Context, name, manifest string) error {
	s.out.command("kubectl apply -f %s", name)
	s.out.manifest(manifest)
	answer, err := s.cluster.KubectlInput(ctx, manifest, "apply", "-n", namespace, "-f", "-")
	if err != nil {
		return err
	}
	s.out.text("%s", answer)
	return nil
}

// stop ends the cluster.
func (s *session) stop() error {
	begin := time.Now()
	if err := s.cluster.Stop(); err != nil {
		return err
	}
	s.out.fact("stopped", "nothing is left running, after %s", seconds(time.Since(begin)))
	return nil
}

// logLines is how much of a log is shown where something went wrong.
const logLines = "40"

// explainTimeout bounds what is asked of a cluster that may not answer.
const explainTimeout = 20 * time.Second

// explain shows what a person looks at who wants to know why something does not work.
func (s *session) explain() {
	ctx, cancel := context.WithTimeout(context.Background(), explainTimeout)
	defer cancel()
	s.out.section("what the cluster says")
	runners := "-lapp.kubernetes.io/component=runner"
	for _, args := range [][]string{
		{"get", "generationjobs,models,runnerpools,runners,pods", "-A", "-o", "wide"},
		{"events", "-A"},
		{"logs", "-n", managerNamespace, "deployment/" + managerDeployment, "--tail", logLines},
		{"logs", "-n", namespace, runners, "--tail", logLines, "--prefix"},
	} {
		s.out.command("kubectl %s", strings.Join(args, " "))
		answer, err := s.cluster.KubectlOutput(ctx, args...)
		if err != nil && answer == "" {
			answer = err.Error() + "\n"
		}
		s.out.text("%s\n", answer)
	}
}
