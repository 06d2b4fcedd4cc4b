// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package compel

import (
	"math"
	"strconv"
	"strings"
)

// prompt reads nodes up to the end of the text: what is no syntax is a word up to white
// space, whatever is in it.
func (p *parser) prompt(at int) Prompt {
	prompt := Prompt{}
	for p.err == nil {
		m := first(at, p.swap, p.lora, p.attention, p.quoted, p.parenthesized, p.freeWord)
		if !m.ok {
			break
		}
		prompt, at = append(prompt, m.nodes...), m.end
	}
	return prompt
}

// freeWord reads anything up to white space.
func (p *parser) freeWord(at int) match {
	at = p.skip(at)
	end := p.run(at, func(b byte) bool { return !isWhite(b) })
	return word(p.text[at:end], end)
}

func word(text string, end int) match {
	return match{nodes: []Node{Fragment(unescape(text))}, end: end, ok: text != ""}
}

// word reads a word without syntax in it.
func (p *parser) word(at int) match {
	return p.remember(ruleWord, at, func(at int) match {
		end := p.wordEnd(at)
		return word(p.text[at:end], end)
	})
}

// wordEnd is where the word ends that begins at a place.
func (p *parser) wordEnd(at int) int {
	for at < len(p.text) {
		b, next := p.text[at], byte(' ')
		if at+1 < len(p.text) {
			next = p.text[at+1]
		}
		switch {
		case b == '\\' && isSyntactic(next):
			at += 2
		case isWhite(b):
			return at
		case isSyntactic(b):
			if b != '-' && b != '+' || isWhite(next) || isSyntactic(next) {
				return at
			}
			at++ // Inside a word, as in well-known.
		default:
			at++
		}
	}
	return at
}

// fragment reads nodes without free words, and with single commas and periods among them
// where they are allowed. It always matches.
func (p *parser) fragment(at int, punctuation bool) (nodes []Node, end int) {
	nodes = []Node{}
	for p.err == nil {
		m := first(at, p.lora, p.attention, p.swap, p.parenthesized, p.quoted, p.word)
		if !m.ok && punctuation {
			m = p.punctuation(at)
		}
		if !m.ok {
			break
		}
		nodes, at = append(nodes, m.nodes...), m.end
	}
	return nodes, at
}

func (p *parser) punctuation(at int) match {
	end, ok := p.literal(at, ",", ".")
	if !ok {
		return match{}
	}
	return word(p.text[end-1:end], end)
}

// parenthesized reads a fragment in parentheses, which by themselves mean nothing.
func (p *parser) parenthesized(at int) match {
	return p.remember(ruleParenthesized, at, func(at int) match {
		at, ok := p.literal(at, "(")
		if !ok {
			return match{}
		}
		if p.depth++; p.depth > maxDepth {
			p.fail("(", "is nested more than %d deep", maxDepth)
			return match{}
		}
		nodes, at := p.fragment(at, true)
		p.depth--
		end, ok := p.literal(at, ")")
		return match{nodes, end, ok}
	})
}

// quoted reads a fragment in quotes, which can't have others in it.
func (p *parser) quoted(at int) match {
	return p.remember(ruleQuoted, at, func(at int) match {
		return p.inQuotes(at, func(inner *parser) ([]Node, bool) {
			nodes, end := inner.fragment(0, true)
			return nodes, inner.skip(end) == len(inner.text)
		})
	})
}

// quotedPrompt reads a whole prompt in quotes.
func (p *parser) quotedPrompt(at int) match {
	return p.inQuotes(p.skip(at), func(inner *parser) ([]Node, bool) { return inner.prompt(0), true })
}

// inQuotes has the content of quotes read as a text of its own.
func (p *parser) inQuotes(at int, read func(*parser) ([]Node, bool)) match {
	content, end, ok := p.quotedContent(at)
	if !ok {
		return match{}
	}
	if strings.TrimFunc(content, isSpace) == "" {
		return match{[]Node{Fragment("")}, end, true}
	}
	inner := newParser(strings.ReplaceAll(content, `"`, `\"`))
	nodes, ok := read(inner)
	if inner.err != nil {
		p.err = inner.err
		return match{}
	}
	return match{nodes, end, ok}
}

// target reads what an operator can be applied to.
func (p *parser) target(at int) match { return first(at, p.quoted, p.parenthesized, p.word) }

// attention reads a target with a weight: word++, (some words)1.3, "some words"-, or any
// of them with .attend(1.3).
func (p *parser) attention(at int) match {
	return p.remember(ruleAttention, at, func(at int) match {
		return first(at, p.explicitAttention, p.implicitAttention)
	})
}

func (p *parser) explicitAttention(at int) match {
	target := p.target(at)
	end, ok := p.literal(target.end, ".attend")
	if !target.ok || !ok {
		return match{}
	}
	if end, ok = p.literal(end, "("); !ok {
		return match{}
	}
	weight, end, ok := p.weight(p.skip(end))
	if !ok {
		return match{}
	}
	end, ok = p.literal(end, ")")
	return attend(target, weight, end, ok)
}

// implicitAttention reads a weight right after its target. After a single word, that can't
// be a number.
func (p *parser) implicitAttention(at int) match {
	if target := first(at, p.quoted, p.parenthesized); target.ok {
		if weight, end, ok := p.weight(target.end); ok {
			return attend(target, weight, end, true)
		}
	}
	target := p.word(at)
	if !target.ok {
		return match{}
	}
	weight, end, ok := p.signs(target.end)
	return attend(target, weight, end, ok)
}

func attend(target match, weight float64, end int, ok bool) match {
	return match{[]Node{&Attention{Weight: weight, Children: target.nodes}}, end, ok}
}

// weight reads signs or a number at a place, which can't be white space.
func (p *parser) weight(at int) (weight float64, end int, ok bool) {
	if at >= len(p.text) || isWhite(p.text[at]) {
		return 0, 0, false
	}
	if weight, end, ok = p.signs(at); ok {
		return weight, end, true
	}
	return p.number(at, false)
}

// signs reads a run of one sign.
func (p *parser) signs(at int) (weight float64, end int, ok bool) {
	if at >= len(p.text) || p.text[at] != '+' && p.text[at] != '-' {
		return 0, 0, false
	}
	sign := p.text[at]
	end = p.run(at, func(b byte) bool { return b == sign })
	if weight = power(sign, end-at); math.IsInf(weight, 0) {
		p.fail("+", "is written %d times, which makes a weight that is out of range", end-at)
	}
	return weight, end, true
}

// swap reads a target with .swap(fragment, options).
func (p *parser) swap(at int) match {
	return p.remember(ruleSwap, at, func(at int) match {
		target := p.target(at)
		end, ok := p.literal(target.end, ".swap")
		if !target.ok || !ok {
			return match{}
		}
		if end, ok = p.literal(end, "("); !ok {
			return match{}
		}
		edited, end := p.fragment(end, false)
		swap := &Swap{Original: orEmpty(target.nodes), Edited: orEmpty(edited)}
		if comma, ok := p.literal(end, ","); ok {
			swap.Options, end = p.options(comma)
		}
		end, ok = p.literal(end, ")")
		return match{[]Node{swap}, end, ok}
	})
}

// orEmpty gives empty text in place of none.
func orEmpty(nodes []Node) []Node {
	if len(nodes) == 0 {
		return []Node{Fragment("")}
	}
	return nodes
}

// lora reads withLora(name, weight).
func (p *parser) lora(at int) match {
	return p.remember(ruleLora, at, func(at int) match {
		end, ok := p.literal(at, "useLora", "withLora")
		if !ok {
			return match{}
		}
		if end, ok = p.literal(end, "("); !ok {
			return match{}
		}
		lora := Lora{Weight: 1}
		if lora.Name, end, ok = p.keyword(end); !ok {
			return match{}
		}
		if comma, ok := p.literal(end, ","); ok {
			if weight, after, ok := p.number(comma, true); ok {
				lora.Weight, end = weight, after
			}
		}
		end, ok = p.literal(end, ")")
		return match{[]Node{lora}, end, ok}
	})
}

func (p *parser) keyword(at int) (word string, end int, ok bool) {
	at = p.skip(at)
	end = p.run(at, isKeyword)
	return p.text[at:end], end, end > at
}

// options reads a list of options with commas between them, which may be empty.
func (p *parser) options(at int) (options []Option, end int) {
	end = at
	for {
		option, after, ok := p.option(at)
		if !ok {
			return options, end
		}
		options, end = append(options, option), after
		if at, ok = p.literal(end, ","); !ok {
			return options, end
		}
	}
}

func (p *parser) option(at int) (option Option, end int, ok bool) {
	name, end, ok := p.keyword(at)
	if equals, is := p.literal(end, "="); ok && is {
		if value, end, ok := p.number(equals, true); ok {
			return Option{name, format(value)}, end, true
		}
		if value, end, ok := p.keyword(equals); ok {
			return Option{name, value}, end, true
		}
	}
	if value, end, ok := p.number(at, true); ok {
		return Option{Name: format(value)}, end, true
	}
	return Option{Name: name}, end, ok
}

// format writes a number so that it is read as the same one.
func format(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) }
