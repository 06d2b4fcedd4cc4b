// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Parity reads what `go test -json` prints and makes tables of how far the runtime is from
// Python: the worst figure of each family of models, class of schedulers and so on. It
// fails where a test failed or a figure is past its bound.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "parity:", err)
		os.Exit(1)
	}
}

// event is one line of `go test -json` (see go doc test2json).
type event struct {
	Action, Package, Test string
	Key, Value, Output    string
}

// run reads events to their end and writes the tables; what failing tests say goes to log.
func run(events io.Reader, out, log io.Writer) error {
	results := newResults()
	decoder := json.NewDecoder(events)
	for {
		var e event
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("reading the output of go test -json: %w", err)
		}
		if err := results.take(e, log); err != nil {
			return err
		}
	}
	if err := results.print(out); err != nil {
		return err
	}
	return results.verdict()
}
