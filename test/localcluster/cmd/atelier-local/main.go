// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Command atelier-local runs Atelier on a Kubernetes cluster of its own on this machine:
// `up` keeps it open to play with, `demo` makes one picture and cleans up.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	if err := endWithParent(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := newCommand().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err == nil:
	case interrupted && errors.Is(err, context.Canceled):
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// newCommand puts the subcommands, each in a file of its own, under one root.
func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "atelier-local",
		Short:         "Run Atelier on a Kubernetes cluster of its own on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newUpCommand(), newDemoCommand())
	return root
}
