// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// barWidth is the length of a full bar in characters.
const barWidth = 30

// bar shows progress on one line of a terminal; where there is none it shows nothing.
type bar struct {
	mu    sync.Mutex
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
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shown = true
	_, _ = fmt.Fprintf(b.out, "\r\x1b[K%s", text)
}

// step shows how many denoising steps are done.
func (b *bar) step(done, total int) {
	full := barWidth * done / max(total, 1)
	b.show(fmt.Sprintf("drawing [%s%s] %d/%d", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done, total))
}

// bytes shows how much of a model has arrived.
func (b *bar) bytes(done, total int64) {
	full := int(barWidth * done / max(total, 1))
	full = min(max(full, 0), barWidth)
	b.show(fmt.Sprintf("fetching [%s%s] %.1f of %.1f MB", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), float64(done)/1e6, float64(total)/1e6))
}

// end clears the line.
func (b *bar) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown {
		_, _ = fmt.Fprint(b.out, "\r\x1b[K")
	}
	b.shown = false
}
