// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Command pause is the first process of a pod's sandbox: it does nothing until it is told to
// end. Pods here share no process namespace, so that there is nothing to reap.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
