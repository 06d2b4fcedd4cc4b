// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package compel

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/atelier-dev/atelier/internal/parity"
)

// goldenFile is what hack/goldens/compel_prompts.py writes.
const goldenFile = "../../../test/testdata/goldens/compel/prompts.json"

// golden is one of its rows. Trees are compared as JSON.
type golden struct {
	Text  string
	Error string
	Tree  any
	Flat  any
}

func readGoldens(t *testing.T) []golden {
	t.Helper()
	data, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	var rows []golden
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// refused are the prompts that compel takes and that are errors here: with weights of which
// nothing can come.
var refused = map[string]bool{"(a)99999999999999999999": true}

// TestTreesEqualPython compares what is parsed, and what that is flattened to, with what
// compel's own parser gives for the same text.
func TestTreesEqualPython(t *testing.T) {
	rows := readGoldens(t)
	if len(rows) < 300 {
		t.Fatalf("only %d prompts", len(rows))
	}
	wrong := 0
	for _, row := range rows {
		if !isParsedAsInPython(t, row) {
			wrong++
		}
	}
	parity.About(t, "prompts", "compel's syntax")
	parity.Record(t, "of all prompts", parity.Figure{Measure: parity.Exact, Worst: float64(wrong) / float64(len(rows)), Cases: len(rows)})
}

// isParsedAsInPython says whether a prompt gives the same tree, and the same when that is
// flattened, or an error where compel gives one.
func isParsedAsInPython(t *testing.T, row golden) bool {
	t.Helper()
	c, err := Parse(row.Text)
	var sums []Sum
	if err == nil {
		sums, err = c.Flatten()
	}
	if (err != nil) != (row.Error != "" || refused[row.Text]) {
		t.Errorf("%q: error %v, and in Python %q", row.Text, err, row.Error)
		return false
	}
	if err != nil {
		return true
	}
	tree := generic(t, map[string]any{"parts": describeParts(c.Parts), "weights": orNone(c.Weights)})
	flat := generic(t, describeSums(sums))
	if !reflect.DeepEqual(tree, row.Tree) || !reflect.DeepEqual(flat, row.Flat) {
		t.Errorf("%q is parsed to\n%v\n%v, and in Python to\n%v\n%v", row.Text, tree, flat, row.Tree, row.Flat)
		return false
	}
	return true
}

// TestPrintedIsTheSame prints each prompt and parses that.
func TestPrintedIsTheSame(t *testing.T) {
	for _, row := range readGoldens(t) {
		c, err := Parse(row.Text)
		if err != nil {
			continue
		}
		again, err := Parse(c.String())
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Errorf("%q is printed as %q, which is not the same (%v)", row.Text, c, err)
		}
	}
}

// generic gives a value as it is read from JSON.
func generic(t *testing.T, value any) (out any) {
	t.Helper()
	data, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func orNone(weights []float64) []float64 { return append([]float64{}, weights...) }

func describeParts(parts []Part) []any {
	out := []any{}
	for _, part := range parts {
		switch part := part.(type) {
		case Prompt:
			out = append(out, describeNodes(part))
		case *Blend:
			prompts := []any{}
			for _, prompt := range part.Prompts {
				prompts = append(prompts, describeNodes(prompt))
			}
			out = append(out, map[string]any{"blend": prompts, "weights": part.Weights, "normalize": part.Normalize})
		}
	}
	return out
}

func describeNodes(nodes []Node) []any {
	out := []any{}
	for _, node := range nodes {
		switch n := node.(type) {
		case Fragment:
			out = append(out, n)
		case *Attention:
			out = append(out, map[string]any{"attend": n.Weight, "of": describeNodes(n.Children)})
		case *Swap:
			out = append(out, map[string]any{"swap": describeNodes(n.Original), "for": describeNodes(n.Edited)})
		case Lora:
			out = append(out, map[string]any{"lora": n.Name, "weight": n.Weight})
		}
	}
	return out
}

func describeSums(sums []Sum) []any {
	out := []any{}
	for _, sum := range sums {
		prompts := []any{}
		for _, spans := range sum.Prompts {
			list := []any{}
			for _, span := range spans {
				list = append(list, []any{span.Text, span.Weight})
			}
			prompts = append(prompts, list)
		}
		out = append(out, map[string]any{"prompts": prompts, "weights": sum.Weights, "normalize": sum.Normalize, "weight": sum.Weight})
	}
	return out
}
