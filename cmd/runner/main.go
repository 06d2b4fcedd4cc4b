// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Command runner draws pictures: in a pod, told by its Runner object (serve), or at a
// terminal (generate, inspect, pull, verify, convert, cache).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// newCommand puts the subcommands, each in a file of its own, under one root.
func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "runner",
		Short:         "Draw pictures with a diffusion model in the ONNX format",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newServeCommand(), newGenerateCommand(), newInspectCommand(),
		newPullCommand(), newVerifyCommand(), newConvertCommand(), newCacheCommand())
	return root
}
