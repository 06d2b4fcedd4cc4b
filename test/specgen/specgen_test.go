// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package specgen_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/atelier-dev/atelier/test/specgen"
)

const schema = `
type: object
required: [name]
properties:
  name: {type: string, minLength: 1, maxLength: 4}
  wait: {type: string, minLength: 1, x-kubernetes-validations: [{rule: "true"}]}
  size: {type: integer, minimum: 8, maximum: 64, multipleOf: 8}
  scale: {type: number, minimum: 0, maximum: 1, exclusiveMinimum: true}
  kind: {enum: [A, B], type: string}
`

func draws(t *testing.T, n int, options specgen.Options) []specgen.Spec {
	t.Helper()
	var s specgen.Schema
	if err := yaml.UnmarshalStrict([]byte(schema), &s); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 0))
	specs := make([]specgen.Spec, n)
	for i := range specs {
		specs[i] = specgen.Draw(random, &s, options)
	}
	return specs
}

func TestRightSpecsMeetTheSchema(t *testing.T) {
	g := NewWithT(t)
	sizes, ruled := map[any]bool{}, 0
	for _, spec := range draws(t, 1000, specgen.Options{Strings: []string{"emoji", "tiny"}}) {
		g.Expect(spec.Faults).To(BeEmpty())
		value := spec.Value.(map[string]any)
		g.Expect([]rune(value["name"].(string))).To(And(Not(BeEmpty()), WithTransform(func(r []rune) int { return len(r) }, BeNumerically("<=", 4))))
		if size, ok := value["size"]; ok {
			sizes[size] = true
		}
		if scale, ok := value["scale"]; ok {
			g.Expect(scale).To(And(BeNumerically(">", 0), BeNumerically("<=", 1)))
		}
		if kind, ok := value["kind"]; ok {
			g.Expect(kind).To(BeElementOf("A", "B"))
		}
		if _, ok := value["wait"]; ok {
			g.Expect(spec.Ruled).To(Equal([]string{"spec.wait"}))
			ruled++
		}
	}
	g.Expect(sizes).To(HaveLen(8), "every multiple of 8 from 8 to 64: %v", sizes)
	g.Expect(ruled).To(BeNumerically(">", 0))
}

func TestFaultsAreNoted(t *testing.T) {
	g := NewWithT(t)
	at := map[string]int{}
	for _, spec := range draws(t, 1000, specgen.Options{FaultRate: 0.1}) {
		for _, path := range spec.Faults {
			at[path]++
		}
	}
	for _, path := range []string{"spec", "spec.name", "spec.wait", "spec.size", "spec.scale", "spec.kind"} {
		g.Expect(at).To(HaveKeyWithValue(path, BeNumerically(">", 5)), "%v", at)
	}
}

func TestTheSameSourceGivesTheSameSpecs(t *testing.T) {
	g := NewWithT(t)
	options := specgen.Options{FaultRate: 0.1}
	g.Expect(draws(t, 100, options)).To(Equal(draws(t, 100, options)))
}

func TestKindsAreRead(t *testing.T) {
	g := NewWithT(t)
	kind, err := specgen.Read(filepath.Join("..", "..", "config", "crd", "bases", "generation.atelier.dev_generationjobs.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(kind.Name).To(Equal("GenerationJob"))
	g.Expect(kind.Spec.Required).To(ContainElement("prompt"))
}
