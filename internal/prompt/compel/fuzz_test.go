// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package compel

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"unicode/utf8"
)

// seeds are of every kind of syntax, whole and broken.
var seeds = []string{
	"", " ", "a red apple", "a,b,,c ,.d", "word++ x-", "(a phrase)1.3 x", "(cat)-0.5", `"quoted words"+ on`, "((a)+ b)0.5",
	`("a cat", "a dog").blend(0.7, 0.3)`, `("a","b").blend(1,1,no_normalize)`, `("a b", c).and(0.5, 2) tail`, "a cat.swap(dog, s_start=0.1) on",
	"withLora(foo, 0.5) a cat", `a \(cat\) on`, "(a cat:1.5) on", "c++ code", "((unbalanced", "a.attend(1.5)", `("cat, a)", b+).and()`, `"a \"b\" \x52"`,
	`"cat, (a"`, "a.swap((b, c))+", `(a\ b)+`, `("",b).blend(nan,1)`, `0+\( "+`, `0+\""+`, `00"\\"+`, "0.swap 0.swap(0)", `a.swap "b c"+`, `withLora "x"+ (useLora "y z"-)+`, "\"0+ \n0\"0", `"a+ 0(0"0)0`, "()\x1c", "\t\u00a0,\u3000é,\x1c",
}

// FuzzParse parses, prints and parses again: there is no panic, and the text that is
// printed means the same.
func FuzzParse(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if bad, ok := errors.AsType[*Error](err); err != nil && (!ok || bad.Syntax == "" || bad.Message == "") {
			t.Fatalf("%q gives %v", text, err)
		}
		if err != nil {
			return
		}
		if len(c.Parts) != len(c.Weights) {
			t.Fatalf("%q gives %d parts and %d weights", text, len(c.Parts), len(c.Weights))
		}
		printed := c.String()
		again, err := Parse(printed)
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%q is printed as %q, which is not the same (%v)\n%#v\n%#v", text, printed, err, c, again)
		}
		sums, err := c.Flatten()
		if err != nil {
			return
		}
		for _, sum := range sums {
			for _, spans := range sum.Prompts {
				for _, span := range spans {
					if !(math.Abs(span.Weight) <= maxWeight) || utf8.ValidString(text) && !utf8.ValidString(span.Text) {
						t.Fatalf("%q gives %q with the weight %v", text, span.Text, span.Weight)
					}
				}
			}
		}
	})
}
