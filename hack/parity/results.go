// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/atelier-dev/atelier/internal/parity"
)

// test names one test of one package.
type test struct{ pkg, name string }

// finding is a figure with the test that left it.
type finding struct {
	test
	parity.Figure
}

// results collects what the tests leave behind.
type results struct {
	subjects map[test]parity.Subject
	findings []finding
	output   map[test][]string
	failed   int
}

func newResults() *results {
	return &results{subjects: map[test]parity.Subject{}, output: map[test][]string{}}
}

// take takes one event over. What a test that failed has said goes to log.
func (r *results) take(e event, log io.Writer) error {
	at := test{e.Package, e.Test}
	switch e.Action {
	case "attr":
		return r.attribute(at, e.Key, e.Value)
	case "output":
		r.output[at] = append(r.output[at], e.Output)
	case "build-output":
		_, err := io.WriteString(log, e.Output)
		return err
	case "fail":
		r.failed++
		for _, line := range r.output[at] {
			if _, err := io.WriteString(log, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// attribute takes over an attribute, unless it is someone else's.
func (r *results) attribute(at test, key, value string) error {
	var err error
	switch key {
	case parity.SubjectKey:
		var s parity.Subject
		err = json.Unmarshal([]byte(value), &s)
		r.subjects[at] = s
	case parity.FigureKey:
		f := finding{test: at}
		err = json.Unmarshal([]byte(value), &f.Figure)
		r.findings = append(r.findings, f)
	}
	if err != nil {
		return fmt.Errorf("%s: attribute %s: %w", at.name, key, err)
	}
	return nil
}

// subject finds what a test is about: what it says, or the test that it is part of.
func (r *results) subject(t test) (parity.Subject, bool) {
	for t.name != "." {
		if s, ok := r.subjects[t]; ok {
			return s, true
		}
		t.name = path.Dir(t.name)
	}
	return parity.Subject{}, false
}

// verdict is nil when something was compared and all of it is equal.
func (r *results) verdict() error {
	if len(r.findings) == 0 {
		return errors.New("no test compared anything")
	}
	past := slices.ContainsFunc(r.findings, func(f finding) bool { return !(f.Worst <= f.Bound) })
	if r.failed > 0 || past {
		return errors.New("the runtime is not equal to Python")
	}
	return nil
}
