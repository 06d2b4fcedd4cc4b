// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package compel

import (
	"fmt"
	"strings"
)

// maxDepth bounds the parentheses that may be open at a place in the text.
const maxDepth = 64

// Parse reads a prompt. Whatever is no syntax is text, so that there are few errors, all of
// them an *Error.
func Parse(text string) (Conjunction, error) {
	text = separateCommas(text)
	if strings.TrimFunc(text, isSpace) == "" {
		return Conjunction{Parts: []Part{Prompt{Fragment("")}}, Weights: []float64{1}}, nil
	}
	p := newParser(text)
	conjunction, ok := p.explicitConjunction()
	if !ok {
		conjunction = p.implicitConjunction()
	}
	if p.err != nil {
		return Conjunction{}, p.err
	}
	return conjunction, nil
}

// parser reads one text by rules of which the first alternative that matches is taken, as
// compel's pyparsing does. What a rule gives at a place is remembered: without that, each
// open parenthesis would multiply the time.
type parser struct {
	text string
	// depth is how many parentheses are open.
	depth int
	found map[place]match
	// err is why nothing can be made of the text; once it is set, no rule matches.
	err error
}

// place is where a rule was tried, after white space.
type place struct {
	rule rule
	at   int
}

// rule is one whose matches are remembered.
type rule int

const (
	ruleWord rule = iota
	ruleQuoted
	ruleParenthesized
	ruleAttention
	ruleSwap
	ruleLora
)

// match is what a rule made of the text up to end.
type match struct {
	nodes []Node
	end   int
	ok    bool
}

func newParser(text string) *parser {
	return &parser{text: expandTabs(text), found: map[place]match{}}
}

// fail ends parsing.
func (p *parser) fail(syntax, format string, args ...any) {
	if p.err == nil {
		p.err = &Error{Syntax: syntax, Message: fmt.Sprintf(format, args...)}
	}
}

// remember gives what a rule matches after white space.
func (p *parser) remember(r rule, at int, parse func(at int) match) match {
	if p.err != nil {
		return match{}
	}
	at = p.skip(at)
	m, ok := p.found[place{r, at}]
	if !ok {
		m = parse(at)
		p.found[place{r, at}] = m
	}
	return m
}

// first gives the match of the first rule that has one.
func first(at int, rules ...func(int) match) match {
	for _, parse := range rules {
		if m := parse(at); m.ok {
			return m
		}
	}
	return match{}
}

// skip gives the place after white space.
func (p *parser) skip(at int) int {
	for at < len(p.text) && isWhite(p.text[at]) {
		at++
	}
	return at
}

// literal gives the place after a literal, and white space before it.
func (p *parser) literal(at int, literals ...string) (end int, ok bool) {
	at = p.skip(at)
	for _, literal := range literals {
		if strings.HasPrefix(p.text[at:], literal) {
			return at + len(literal), true
		}
	}
	return at, false
}

// run gives the end of a run of bytes.
func (p *parser) run(at int, in func(byte) bool) int {
	for at < len(p.text) && in(p.text[at]) {
		at++
	}
	return at
}
