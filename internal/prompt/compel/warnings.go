// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package compel

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Warnings say what in a prompt has no effect though it looks like syntax. They name the
// place by its character, counted from 1, and do not repeat the text.
func Warnings(text string) []string {
	c, err := Parse(text)
	if err != nil {
		return nil
	}
	w := warner{text: text}
	for _, part := range c.Parts {
		switch part := part.(type) {
		case Prompt:
			w.nodes(part)
		case *Blend:
			for _, prompt := range part.Prompts {
				w.nodes(prompt)
			}
		}
	}
	w.ignored()
	w.unbalanced()
	for _, f := range foreign {
		for _, at := range f.pattern.FindAllStringIndex(text, -1) {
			w.warn(at[0], "%s", f.message)
		}
	}
	return w.warnings
}

// foreign are the patterns of what other programs understand, or what is easily mistaken.
var foreign = []struct {
	pattern *regexp.Regexp
	message string
}{
	{regexp.MustCompile(`\([^()]*:\s*\d*\.?\d+\s*\)`), "(text:1.5) gives no weight here, and its number is drawn as text; write (text)1.5"},
	{regexp.MustCompile(`[\w)"][+-]+\d*\.\d+`), "a number after + or - is text and no weight; write (text)0.5, or text- alone"},
	{regexp.MustCompile(`<(?:lora|lyco|hypernet):[^<>]*>`), "<lora:name:1> is text here; adaptations can't be added by the prompt"},
	{regexp.MustCompile(`\[[^\[\]]*:[^\[\]]*:\s*\d*\.?\d+\s*\]`), "[from:to:when] is text here; prompts can't change between steps"},
}

type warner struct {
	text     string
	warnings []string
	// swaps, loras and operators were warned about.
	swaps, loras, operators bool
}

func (w *warner) warn(at int, format string, args ...any) {
	place := fmt.Sprintf("character %d: ", 1+utf8.RuneCountInString(w.text[:at]))
	w.warnings = append(w.warnings, place+fmt.Sprintf(format, args...))
}

// once warns about the first place of any of the literals.
func (w *warner) once(done *bool, message string, literals ...string) {
	if *done {
		return
	}
	*done = true
	at := len(w.text)
	for _, literal := range literals {
		if i := strings.Index(w.text, literal); i >= 0 {
			at = min(at, i)
		}
	}
	w.warn(at, "%s", message)
}

// nodes warns about what is known but not carried out, and about operators that stand
// where they are text.
func (w *warner) nodes(nodes []Node) {
	for _, node := range nodes {
		switch n := node.(type) {
		case *Swap:
			w.once(&w.swaps, "swap() has no effect; what is to be replaced is drawn", ".swap")
			w.nodes(n.Original)
		case Lora:
			w.once(&w.loras, "withLora() has no effect; adaptations can't be added by the prompt", "withLora", "useLora")
		case *Attention:
			w.nodes(n.Children)
		case Fragment:
			for _, operator := range []string{".blend(", ".and(", ".add(", ".attend(", ".swap(", "withLora(", "useLora("} {
				if strings.Contains(string(n), operator) {
					w.once(&w.operators, operator+") is text here, as what is before it or in it is not what it can be applied to", operator)
				}
			}
		}
	}
}

// ignored warns about text after a conjunction.
func (w *warner) ignored() {
	text := separateCommas(w.text)
	p := newParser(text)
	_, _, end, ok := p.joined(0, ".and", ".add")
	if ok && p.skip(end) < len(p.text) {
		w.warn(strings.LastIndexByte(w.text, ')')+1, "text after .and() is left out")
	}
}

// unbalanced warns about the first parenthesis without another.
func (w *warner) unbalanced() {
	var open []int
	for i := 0; i < len(w.text); i++ {
		switch w.text[i] {
		case '\\':
			i++
		case '(':
			open = append(open, i)
		case ')':
			if len(open) == 0 {
				w.warn(i, `a parenthesis that was not opened is text; write \) if that is meant`)
				return
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		w.warn(open[0], `a parenthesis that is not closed is text; write \( if that is meant`)
	}
}
