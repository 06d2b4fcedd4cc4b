// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// barWidth is the length of a full bar in characters.
const barWidth = 30

// bar shows progress on one line of a terminal; where there is none it shows nothing.
type bar struct {
	out   io.Writer
	shown bool
}

func newBar(out io.Writer) *bar {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return &bar{out: io.Discard}
	}
	return &bar{out: out}
}

// show replaces the line. Errors are of no interest: progress is a courtesy.
func (b *bar) show(text string) {
	b.shown = true
	_, _ = fmt.Fprintf(b.out, "\r\x1b[K%s", text)
}

// step shows how many denoising steps are done.
func (b *bar) step(done, total int) {
	full := barWidth * done / max(total, 1)
	b.show(fmt.Sprintf("drawing [%s%s] %d/%d", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done, total))
}

// end clears the line.
func (b *bar) end() {
	if b.shown {
		_, _ = fmt.Fprint(b.out, "\r\x1b[K")
	}
	b.shown = false
}
