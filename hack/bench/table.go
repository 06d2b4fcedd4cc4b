// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"
	"text/tabwriter"
)

// table is text in columns.
type table struct{ text strings.Builder }

// newTable begins with the headings.
func newTable(headings ...string) *table {
	t := &table{}
	t.row(headings...)
	return t
}

// row adds a line.
func (t *table) row(cells ...string) { t.text.WriteString(strings.Join(cells, "\t") + "\n") }

// write writes the table and an empty line.
func (t *table) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(w, t.text.String()+"\n"); err != nil {
		return err
	}
	return w.Flush()
}
