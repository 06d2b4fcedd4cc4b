// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func newUpCommand() *cobra.Command {
	var gpus int
	command := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster with Atelier and keep it open until ctrl-c",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return up(command.Context(), gpus) },
	}
	registerGPUs(command, &gpus)
	return command
}

func registerGPUs(command *cobra.Command, gpus *int) {
	command.Flags().IntVar(gpus, "gpus", 2, "number of nvidia.com/gpu that the node offers")
}

// up starts a cluster, sets it up to draw pictures, and keeps it until ctx is done.
func up(ctx context.Context, gpus int) (err error) {
	out := newConsole(os.Stdout)
	s, err := startSession(ctx, out, gpus)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	out.section("model and pool")
	for _, file := range []string{modelSample, poolSample} {
		if err := s.applySample(ctx, file); err != nil {
			return err
		}
	}
	out.section("ready: in another terminal")
	out.command("export KUBECONFIG=%s", s.cluster.Kubeconfig())
	out.command("export PATH=%s:$PATH", filepath.Dir(s.cluster.Kubectl()))
	out.command("kubectl apply -f %s", filepath.Join(s.root, jobSample))
	out.command("kubectl get generationjobs --watch")
	out.text("\nPictures appear in %s\nLogs are in %s\nctrl-c ends the cluster and removes both.\n", s.outputs, s.cluster.Dir())
	<-ctx.Done()
	out.text("\n")
	return nil
}
