// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package specgen

import (
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxLength bounds strings that the schema does not.
const maxLength = 64

func bounds(schema *Schema) (lowest, highest float64) {
	lowest, highest = -1000, 1000
	if schema.Minimum != nil {
		lowest = *schema.Minimum
	}
	if schema.Maximum != nil {
		highest = *schema.Maximum
	}
	return lowest, highest
}

// step is the distance between right integers.
func step(schema *Schema) int64 {
	if schema.MultipleOf != nil {
		return int64(*schema.MultipleOf)
	}
	return 1
}

// integer draws an edge as often as all that is between them.
func (d *drawer) integer(schema *Schema) any {
	low, high := bounds(schema)
	lowest, highest := int64(low), int64(high)
	if d.options.Largest > 0 {
		highest = max(lowest, min(highest, d.options.Largest))
	}
	by := step(schema)
	switch d.IntN(4) {
	case 0:
		return lowest
	case 1:
		return highest / by * by
	}
	return lowest + d.Int64N((highest-lowest)/by+1)*by
}

func (d *drawer) number(schema *Schema) any {
	low, high := bounds(schema)
	if d.chance(0.25) && !schema.ExclusiveMaximum {
		return high
	}
	if d.chance(0.25) && !schema.ExclusiveMinimum {
		return low
	}
	return low + (high-low)*(0.25+d.Float64()/2)
}

// text draws a string of the schema's length.
func (d *drawer) text(schema *Schema) string {
	shortest, longest := lengths(schema)
	if len(schema.XValidations) > 0 && d.options.Ruled != nil && d.chance(0.9) {
		values := d.options.Ruled(schema.XValidations[0].Rule)
		return values[d.IntN(len(values))]
	}
	if fit := slices.DeleteFunc(slices.Clone(d.options.Strings), func(s string) bool {
		n := utf8.RuneCountInString(s)
		return n < shortest || n > longest
	}); len(fit) > 0 && d.chance(0.6) {
		return fit[d.IntN(len(fit))]
	}
	alphabet := []string{"a", "/", ".", "-", "A", " ", "é", "日", "🍎", "\n", "\x00", "%", "\\", "'", "{", "0"}
	n := []int{shortest, longest, shortest + d.IntN(min(longest-shortest, maxLength)+1)}[d.IntN(3)]
	var b strings.Builder
	for range n {
		b.WriteString(alphabet[d.IntN(len(alphabet))])
	}
	return b.String()
}

// lengths returns how many characters a string has at least and at most.
func lengths(schema *Schema) (shortest, longest int) {
	longest = maxLength
	if schema.MinLength != nil {
		shortest = int(*schema.MinLength)
	}
	if schema.MaxLength != nil {
		longest = int(*schema.MaxLength)
	}
	return shortest, longest
}

// wrong returns values that do not meet the schema.
func (d *drawer) wrong(schema *Schema) []any {
	if schema.XPreserveUnknownFields != nil && schema.Type == "" {
		return nil
	}
	wrong := d.wrongType(schema.Type)
	if len(schema.Enum) > 0 {
		return append(wrong, "", "Bogus", strings.ToLower(string(schema.Enum[0].Raw)))
	}
	switch schema.Type {
	case typeInteger, typeNumber:
		wrong = append(wrong, wrongNumbers(schema)...)
	case typeString:
		wrong = append(wrong, wrongStrings(schema)...)
	}
	return wrong
}

// wrongType returns a value of each type but one.
func (d *drawer) wrongType(right string) []any {
	values := map[string]any{
		typeString: "7", typeNumber: 1.5, typeBoolean: true, typeArray: []any{"a"}, typeObject: map[string]any{},
	}
	delete(values, right)
	list := make([]any, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		list = append(list, values[name])
	}
	return list
}

func wrongNumbers(schema *Schema) []any {
	var wrong []any
	if schema.Minimum != nil {
		wrong = append(wrong, *schema.Minimum-1, -math.MaxFloat64)
		if schema.ExclusiveMinimum {
			wrong = append(wrong, *schema.Minimum)
		}
	}
	if schema.Maximum != nil {
		wrong = append(wrong, *schema.Maximum+1, int64(math.MaxInt64))
	}
	if by := step(schema); by > 1 && schema.Minimum != nil {
		wrong = append(wrong, int64(*schema.Minimum)+by-1, int64(*schema.Minimum)+by+1)
	}
	if schema.Type == typeNumber {
		return slices.DeleteFunc(wrong, func(v any) bool { return v == 1.5 })
	}
	return wrong
}

func wrongStrings(schema *Schema) []any {
	var wrong []any
	if schema.MinLength != nil && *schema.MinLength > 0 {
		wrong = append(wrong, "")
	}
	if schema.MaxLength != nil {
		wrong = append(wrong, strings.Repeat("a", int(*schema.MaxLength)+1), strings.Repeat("é", int(*schema.MaxLength)+1))
	}
	return wrong
}
