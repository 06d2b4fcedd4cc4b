// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// Colours of a terminal.
const (
	bold  = "\x1b[1m"
	faint = "\x1b[2m"
	reset = "\x1b[0m"
)

// console writes for people. It uses colours on terminals only, and not where NO_COLOR
// is set.
type console struct {
	io.Writer
	colours bool
	begun   time.Time
}

func newConsole(file *os.File) *console {
	return &console{Writer: file, colours: term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == "", begun: time.Now()}
}

// section begins a part of the output.
func (c *console) section(title string) {
	c.text("\n%s\n", c.coloured(bold, "── "+title+" "+strings.Repeat("─", max(0, 68-len(title)))))
}

// fact is a name and what there is to say of it.
func (c *console) fact(name, format string, args ...any) {
	c.text("  %-22s %s\n", name, fmt.Sprintf(format, args...))
}

// command shows a command line that a person could type.
func (c *console) command(format string, args ...any) {
	c.text("%s\n", c.coloured(bold, "$ "+fmt.Sprintf(format, args...)))
}

// manifest shows YAML, indented.
func (c *console) manifest(yaml string) {
	for line := range strings.Lines(strings.TrimSpace(yaml)) {
		c.text("%s\n", c.coloured(faint, "  "+strings.TrimRight(line, "\n")))
	}
}

// table aligns rows of cells.
func (c *console) table(rows [][]string) {
	w := tabwriter.NewWriter(c, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		_, _ = fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
	}
	_ = w.Flush()
}

func (c *console) text(format string, args ...any) { _, _ = fmt.Fprintf(c, format, args...) }

func (c *console) coloured(colour, text string) string {
	if !c.colours {
		return text
	}
	return colour + text + reset
}

// seconds is a duration as people read it.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
