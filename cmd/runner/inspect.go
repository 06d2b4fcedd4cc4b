// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

func newInspectCommand() *cobra.Command { return &cobra.Command{Use: "inspect"} }
