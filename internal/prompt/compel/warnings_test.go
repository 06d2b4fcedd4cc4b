// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package compel

import (
	"strings"
	"testing"
)

func TestWarnings(t *testing.T) {
	for text, want := range map[string][]string{
		"a red apple": nil, "(a red)1.3 apple++ on-": nil, `("a", "b").blend(1, 2)`: nil, `a \(b`: nil, "well-known 4-6 things": nil, "at 12:30 (noon)": nil,
		"a cat.swap(dog)":                  {"character 6: swap() has no effect"},
		"é cat.swap(dog) b.swap(c)":        {"character 6: swap() has no effect"},
		"withLora(x, 0.5) a":               {"character 1: withLora() has no effect"},
		"(a cat:1.5) on":                   {"character 1: (text:1.5) gives no weight"},
		"(cat)-0.5":                        {"character 5: a number after + or -"},
		"((a)":                             {"character 1: a parenthesis that is not closed"},
		"a cat :)":                         {"character 8: a parenthesis that was not opened"},
		`a ("a", "b").blend(1, 2)`:         {"character 13: .blend() is text here"},
		`("a", "b").and() tail`:            {"character 17: text after .and()"},
		"a <lora:style:1> [cat:dog:0.5]":   {"character 3: <lora:name:1> is text", "character 18: [from:to:when] is text"},
		"a cat.swap(dog) and withLora(x":   {"character 6: swap()", "character 21: withLora() is text", "character 29: a parenthesis that is not closed"},
		`("a", "b").blend(1)`:              nil, // Which is an error.
		strings.Repeat("(", maxDepth+2):    nil,
		`("a.swap(b)", "withLora(x)").and`: {"character 4: swap()", "character 16: withLora()"},
	} {
		got := Warnings(text)
		if len(got) != len(want) {
			t.Errorf("%q gives the warnings %q, want %d", text, got, len(want))
			continue
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%q gives the warnings %q, want %q", text, got, want)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		`("a", "b").blend(1)`:             ".blend() has 2 prompts and 1 weights",
		`("a", "b").and(1)`:               ".and() has 2 prompts and 1 weights",
		`("a", "b").blend(1, x)`:          ".blend() has the weight x; must be a number",
		`("a", "b").blend(1, nan)`:        ".blend() has the weight nan; must be a number",
		`("a", "b").blend(1, 1) tail`:     ".blend() must not have text after it",
		`("a.swap(b)", "c").blend(1, 1)`:  ".blend() can't have .swap() in it",
		`((), "c").blend(1, 1)`:           ".blend() must not have a prompt without text",
		`("a", "b").blend(1, -1)`:         ".blend() has weights whose sum is 0",
		"(a)9999999":                      "text has the weight 9.999999e+06; must be at most",
		"(a)1" + strings.Repeat("0", 400): "number is out of range",
		"a" + strings.Repeat("+", 8000):   "+ is written 8000 times",
		strings.Repeat("(", 2+maxDepth):   "( is nested more than 64 deep",
	} {
		c, err := Parse(text)
		if err == nil {
			_, err = c.Flatten()
		}
		if got := ""; err != nil {
			if got = err.Error(); want == "" || !strings.HasPrefix(got, want) {
				t.Errorf("%.40q gives the error %q, want %q", text, got, want)
			}
		} else if want != "" {
			t.Errorf("%.40q gives no error, want %q", text, want)
		}
	}
}

// TestTimeIsBounded parses what takes parsers without memory exponential time, as long as a
// job's prompt can be, and counts allocations, which go with what is tried.
func TestTimeIsBounded(t *testing.T) {
	const longest = 8192
	for _, unit := range []string{
		"(", "()", "(a", `"`, `\"`, `"\"`, "a+", "+", "a.swap(", "a.attend(", `("`, `("a",`, "withLora(", "((a)+ ", ",", "(a b)+ (c ", `"a (b" `,
		strings.Repeat("(", maxDepth-2) + "a" + strings.Repeat(")", maxDepth-2) + " ", "-", "1.", "\\",
	} {
		text := strings.Repeat(unit, longest/len(unit))
		allocations := testing.AllocsPerRun(1, func() { _, _ = Parse(text) })
		if each := allocations / float64(len(text)); each > 4 {
			t.Errorf("%q: %.1f allocations for each byte", unit, each)
		}
	}
}
