// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package compel

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// String gives a text that Parse makes the same conjunction of: with a backslash before
// parentheses and quotes that could mean something, and where that gives a word another
// meaning, with lines that keep quotes from having to do with each other, or with words as
// they are.
// A word that mixes quotes, backslashes and signs may defeat all of that.
func (c Conjunction) String() string {
	text := ""
	for _, p := range []printer{{separator: " "}, {separator: "\n"}, {separator: "\n", raw: true}} {
		text = c.write(p)
		if again, err := Parse(text); err == nil && reflect.DeepEqual(again, c) {
			break
		}
	}
	return text
}

// printer writes parts of a conjunction.
type printer struct {
	// separator of words outside parentheses and quotes.
	separator string
	// raw leaves those words as they are.
	raw bool
}

func (c Conjunction) write(p printer) string {
	text := joinCommas(p.conjunction(c))
	if strings.TrimFunc(text, isSpace) == "" {
		text = "()" + text // A prompt of white space alone would be empty text.
	}
	return text
}

// joinCommas takes back what separateCommas does: a comma before a character is there only
// because it had a space put before it.
func joinCommas(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if isWhite(text[i]) && i > 0 && text[i-1] == ',' && i+2 < len(text) && text[i+1] == ',' {
			if r, _ := utf8.DecodeRuneInString(text[i+2:]); !isSpace(r) {
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

func (p printer) conjunction(c Conjunction) string {
	if c.implicit() {
		var parts []string
		for _, part := range c.Parts {
			parts = append(parts, p.part(part))
		}
		return strings.Join(parts, p.separator)
	}
	prompts := make([]Prompt, 0, len(c.Parts))
	for _, part := range c.Parts {
		prompt, _ := part.(Prompt) // A blend is never in an explicit one.
		prompts = append(prompts, prompt)
	}
	return p.joined(prompts, ".and", c.Weights, "")
}

// implicit says whether the conjunction can be had without .and(): one part, before and
// after which there may be adaptations alone.
func (c Conjunction) implicit() bool {
	for _, weight := range c.Weights {
		if weight != 1 {
			return false
		}
	}
	parts := c.Parts
	if len(parts) > 1 && onlyLoras(parts[0]) {
		parts = parts[1:]
	}
	if len(parts) == 0 {
		return false
	}
	if _, ok := parts[0].(*Blend); ok {
		return true
	}
	prompt, _ := parts[0].(Prompt)
	startsWithLora := false
	if len(prompt) > 0 {
		_, startsWithLora = prompt[0].(Lora)
	}
	return len(parts) == 1 && !startsWithLora
}

func onlyLoras(part Part) bool {
	prompt, ok := part.(Prompt)
	for _, node := range prompt {
		if _, is := node.(Lora); !is {
			return false
		}
	}
	return ok && len(prompt) > 0
}

func (p printer) part(part Part) string {
	switch part := part.(type) {
	case *Blend:
		option := ""
		if !part.Normalize {
			option = noNormalize
		}
		return p.joined(part.Prompts, ".blend", part.Weights, option)
	case Prompt:
		return p.prompt(part)
	}
	return ""
}

// prompt writes a prompt that is not inside parentheses.
func (p printer) prompt(prompt Prompt) string {
	if len(prompt) == 0 {
		return "()"
	}
	return printNodes(prompt, p.separator, func(text string) string { return p.freeWord(prompt, text) })
}

// mostEscapes bounds the search of freeWord to some thousand spellings of a word.
const mostEscapes = 12

// freeWord writes one of the prompt's words. Quotes are escaped, and parentheses where there
// are both kinds, unless the word then means something else: a sign at its end is only text
// where something unescaped keeps the word from being one without syntax. Then every choice
// of what to escape is tried.
func (p printer) freeWord(prompt Prompt, text string) string {
	if p.raw {
		return text
	}
	escaped := strings.ReplaceAll(text, `"`, `\"`)
	if prompt.contains("(") && prompt.contains(")") {
		escaped = printWord(text)
	}
	if meansWord(escaped, text) {
		return escaped
	}
	marks := strings.Count(text, "(") + strings.Count(text, ")") + strings.Count(text, `"`)
	for choice := 1<<min(marks, mostEscapes) - 1; choice >= 0; choice-- {
		if spelling := escape(text, choice); meansWord(spelling, text) {
			return spelling
		}
	}
	return text
}

// contains says whether one of the prompt's words has a text in it.
func (p Prompt) contains(text string) bool {
	return slices.ContainsFunc(p, func(node Node) bool {
		fragment, ok := node.(Fragment)
		return ok && strings.Contains(string(fragment), text)
	})
}

// meansWord says whether a spelling, by itself, is read as one word.
func meansWord(spelling, word string) bool {
	read := newParser(spelling).prompt(0)
	return len(read) == 1 && read[0] == Fragment(word)
}

// escape puts a backslash before those parentheses and quotes whose bit is set in the
// choice; those beyond its bits get none. Those after a backslash always get one, without
// which that would be theirs.
func escape(text string, choice int) string {
	var b strings.Builder
	mark := 0
	for i := range len(text) {
		if strings.IndexByte(`()"`, text[i]) >= 0 {
			if choice>>mark&1 == 1 || i > 0 && text[i-1] == '\\' {
				b.WriteByte('\\')
			}
			mark++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// printWord writes a word without syntax.
func printWord(text string) string {
	return strings.NewReplacer("(", `\(`, ")", `\)`, `"`, `\"`).Replace(text)
}

// joined writes prompts with an operator.
func (p printer) joined(prompts []Prompt, operator string, weights []float64, option string) string {
	items := make([]string, 0, len(prompts))
	for _, prompt := range prompts {
		items = append(items, p.item(prompt))
	}
	options := make([]string, 0, len(weights)+1)
	for _, weight := range weights {
		options = append(options, format(weight))
	}
	if option != "" {
		options = append(options, option)
	}
	return "(" + strings.Join(items, ", ") + ")" + operator + "(" + strings.Join(options, ", ") + ")"
}

// item writes one of several prompts: in parentheses if that means the same, which it
// doesn't for words with syntax in them, and else in quotes.
func (p printer) item(prompt Prompt) string {
	for _, node := range prompt {
		if fragment, ok := node.(Fragment); ok && !plain(string(fragment)) {
			p.separator = " " // Quotes end with the line.
			return `"` + closed(strings.ReplaceAll(p.prompt(prompt), `\"`, `"`), `"`)
		}
	}
	return parenthesize(prompt)
}

// plain says whether a text is a word, a comma or a period inside parentheses.
func plain(text string) bool {
	if text == "" || text == "," || text == "." {
		return true
	}
	escaped := printWord(text)
	p := newParser(escaped)
	return p.wordEnd(0) == len(escaped)
}

func parenthesize(nodes []Node) string { return "(" + closed(printNodes(nodes, " ", printWord), ")") }

// closed adds what closes a text, which a backslash before it would keep from that.
func closed(text, closer string) string {
	if strings.HasSuffix(text, `\`) {
		text += " "
	}
	return text + closer
}

// operator matches words that would be operators if a parenthesis came next.
var operator = regexp.MustCompile(`(?:\.(?:attend|swap|blend|and|add)|(?:use|with)Lora)$`)

// nothing is read as no nodes at all.
const nothing = `"()"`

// printNodes writes nodes with a separator between them; fragment writes those.
func printNodes(nodes []Node, separator string, fragment func(string) string) string {
	texts := make([]string, 0, len(nodes))
	for _, node := range nodes {
		text := `""`
		switch n := node.(type) {
		case Fragment:
			if n != "" {
				text = fragment(string(n))
			}
		case *Attention:
			text = parenthesize(n.Children) + format(n.Weight)
		case *Swap:
			text = n.text()
		case Lora:
			text = "withLora(" + n.Name + ", " + format(n.Weight) + ")"
		}
		if n := len(texts); n > 0 && strings.HasPrefix(text, "(") && operator.MatchString(texts[n-1]) {
			texts = append(texts, nothing)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, separator)
}

// text is read as the swap.
func (s *Swap) text() string {
	options := make([]string, 0, len(s.Options))
	for _, option := range s.Options {
		text := option.Name
		if option.Value != "" {
			text += "=" + option.Value
		}
		options = append(options, ", "+text)
	}
	return parenthesize(s.Original) + ".swap(" + parenthesize(s.Edited) + strings.Join(options, "") + ")"
}
