// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package prompt

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestCharactersAreTakenAsTheTokenizersLibraryDoes looks at each character there is. It
// fails where Go's tables become those of another version of Unicode.
func TestCharactersAreTakenAsTheTokenizersLibraryDoes(t *testing.T) {
	var want struct {
		Letters, Numbers, Spaces [][2]rune
		Changed                  map[string]string
	}
	golden(t, "characters", &want)
	letters, numbers, spaces := set(want.Letters), set(want.Numbers), set(want.Spaces)
	if len(letters) < 100000 || len(numbers) < 1000 || len(spaces) < 20 || len(want.Changed) < 2000 {
		t.Fatalf("only %d letters, %d numbers, %d spaces and %d that change", len(letters), len(numbers), len(spaces), len(want.Changed))
	}
	wrong := 0
	for r := range rune(utf8.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue
		}
		normal, ok := want.Changed[string(r)]
		if !ok {
			normal = string(r)
		}
		if isLetter(r) != letters[r] || isNumber(r) != numbers[r] || unicode.IsSpace(r) != spaces[r] || normalize(string(r)) != normal {
			if wrong++; wrong <= 20 {
				t.Errorf("%U: letter %t, want %t; number %t, want %t; space %t, want %t; becomes %+q, want %+q", r,
					isLetter(r), letters[r], isNumber(r), numbers[r], unicode.IsSpace(r), spaces[r], normalize(string(r)), normal)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d characters differ; Go's tables are of Unicode %s", wrong, unicode.Version)
	}
}

// set has the characters of ranges.
func set(ranges [][2]rune) map[rune]bool {
	members := map[rune]bool{}
	for _, r := range ranges {
		for c := r[0]; c <= r[1]; c++ {
			members[c] = true
		}
	}
	return members
}

func TestCompose(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                       "plain",
		"e\u0301":                     "\u00e9",
		"a\u0302\u0323":               "\u1ead",             // marks are put in order before they join
		"a\u0323\u0302":               "\u1ead",             // and join one after the other
		"\u0301e":                     "\u0301e",            // a mark that comes first joins nothing
		"a\u0345\u0301\u0300":         "\u00e1\u0300\u0345", // two of one class: the second stays
		"\u1112\u1161\u11ab":          "\ud55c",             // Hangul
		"\u212b\u0958":                "\u00c5\u0915\u093c", // one character that is another, and one that is not composed
		"e\u1df6\u0301":               "e\u1df6\u0301",      // a mark of Unicode 10 keeps off the one that follows
		"\u0301\u1df6\u0323":          "\u0301\u1df6\u0323",
		"\U00011938e\u0301":           "\U00011938\u00e9",
		"\U00011935\U00011930e\u0301": "\U00011935\U00011930\u00e9",
	} {
		if got := compose(text); got != want {
			t.Errorf("%+q becomes %+q, want %+q", text, got, want)
		}
	}
	marks := strings.Repeat("\u0323", 100)
	if got, want := compose("e"+strings.Repeat("\u0301\u0323", 100)), "\u1eb9"+marks[2:]+strings.Repeat("\u0301", 100); got != want {
		t.Errorf("many marks: %+q, want %+q", got, want)
	}
}
