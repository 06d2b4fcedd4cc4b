// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/atelier-dev/atelier/internal/parity"
)

// row is one line of the table: the worst figure of one measure of a subject, with its
// bound, and all cases together.
type row struct {
	parity.Subject
	parity.Figure
}

// rows gives the lines of the table in their order.
func (r *results) rows() ([]row, error) {
	type key struct {
		parity.Subject
		parity.Measure
	}
	worst := map[key]parity.Figure{}
	for _, f := range r.findings {
		subject, ok := r.subject(f.test)
		if !ok {
			return nil, fmt.Errorf("%s leaves a figure but does not say about what; parity.About does", f.name)
		}
		at := key{subject, f.Measure}
		merged, seen := worst[at]
		cases := merged.Cases + f.Cases
		if !seen || used(f.Figure) > used(merged) {
			merged = f.Figure
		}
		merged.Cases = cases
		worst[at] = merged
	}
	rows := make([]row, 0, len(worst))
	for at, figure := range worst {
		rows = append(rows, row{at.Subject, figure})
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Measure, b.Measure))
	})
	return rows, nil
}

// used is how much of its bound a difference takes up.
func used(f parity.Figure) float64 {
	if f.Worst == 0 {
		return 0 // Whatever the bound is.
	}
	return f.Worst / f.Bound
}

// print writes the table.
func (r *results) print(out io.Writer) error {
	rows, err := r.rows()
	if err != nil {
		return err
	}
	var text strings.Builder
	var last parity.Subject
	for _, row := range rows {
		name := row.Name
		if row.Kind != last.Kind {
			fmt.Fprintf(&text, "%s\tMEASURE\tCASES\tWORST\tALLOWED\n", strings.ToUpper(row.Kind))
		} else if row.Subject == last {
			name = ""
		}
		mark := ""
		if !(row.Worst <= row.Bound) {
			mark = "  <- past its bound"
		}
		fmt.Fprintf(&text, "%s\t%s\t%d\t%s\t%s%s\n", name, row.Measure, row.Cases, show(row.Measure, row.Worst), show(row.Measure, row.Bound), mark)
		last = row.Subject
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(w, text.String()); err != nil {
		return err
	}
	return w.Flush()
}

// show writes a difference of numbers as it is, and the share of what is equal.
func show(m parity.Measure, difference float64) string {
	if m.IsShare() {
		return fmt.Sprintf("%.5g %%", 100*(1-difference))
	}
	return fmt.Sprintf("%.1e", difference)
}
