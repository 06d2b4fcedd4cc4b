// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "time"

// started is as early as a Go program can look at a clock.
var started = time.Now()

// processStart is about when this process started.
func processStart() time.Time { return started }
