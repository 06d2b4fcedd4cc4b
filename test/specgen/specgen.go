// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package specgen draws specs from the OpenAPI schema of a CustomResourceDefinition: right
// ones, at the edges of what the schema allows, and ones with things wrong of which it
// knows where they are. It knows no field by name, so that new fields are tried as well.
package specgen

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// Schema is that of an object's properties, as a CRD has it.
type Schema = apiextensionsv1.JSONSchemaProps

// The types of OpenAPI.
const (
	typeInteger = "integer"
	typeNumber  = "number"
	typeBoolean = "boolean"
	typeString  = "string"
	typeArray   = "array"
	typeObject  = "object"
)

// Kind is a kind with the schema of its spec.
type Kind struct {
	Name, Plural string
	Spec         *Schema
}

// Read reads the kind of a CustomResourceDefinition's first version.
func Read(path string) (Kind, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Kind{}, err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		return Kind{}, fmt.Errorf("%s: %w", path, err)
	}
	if len(crd.Spec.Versions) == 0 || crd.Spec.Versions[0].Schema == nil {
		return Kind{}, fmt.Errorf("%s has no version with a schema", path)
	}
	spec, ok := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	if !ok {
		return Kind{}, fmt.Errorf("%s has no spec", path)
	}
	return Kind{Name: crd.Spec.Names.Kind, Plural: crd.Spec.Names.Plural, Spec: &spec}, nil
}

// Spec is a drawn spec.
type Spec struct {
	Value any
	// Faults are the paths at which the schema is not met, such as spec.steps.
	Faults []string
	// Ruled are the paths whose rules (x-kubernetes-validations) decide beyond the schema.
	Ruled []string
}

// Options say what is drawn.
type Options struct {
	// FaultRate is the share of fields that get something wrong, from 0 to 1.
	FaultRate float64
	// Largest bounds integers that are right, where the schema allows one as small.
	// 0 bounds nothing.
	Largest int64
	// Strings are drawn where the schema allows them, beside random ones.
	Strings []string
	// Ruled gives, for a rule that decides beyond the schema, strings that are drawn most of
	// the time, as random ones seldom meet it. May be nil.
	Ruled func(rule string) []string
}

// Draw draws a spec. The same random source gives the same spec.
func Draw(random *rand.Rand, schema *Schema, options Options) Spec {
	d := drawer{Rand: random, options: options}
	d.spec.Value = d.draw("spec", schema)
	return d.spec
}

type drawer struct {
	*rand.Rand
	options Options
	spec    Spec
}

func (d *drawer) chance(p float64) bool { return d.Float64() < p }

func (d *drawer) fault(path string) { d.spec.Faults = append(d.spec.Faults, path) }

// draw returns a value for a path: a right one, or a wrong one that it notes as a fault.
func (d *drawer) draw(path string, schema *Schema) any {
	if d.chance(d.options.FaultRate) {
		if wrong := d.wrong(schema); len(wrong) > 0 {
			d.fault(path)
			return wrong[d.IntN(len(wrong))]
		}
	}
	if len(schema.XValidations) > 0 {
		d.spec.Ruled = append(d.spec.Ruled, path)
	}
	return d.right(path, schema)
}

// right returns a value that meets the schema, but for faults deeper in.
func (d *drawer) right(path string, schema *Schema) any {
	if len(schema.Enum) > 0 {
		var value any
		// What a CRD holds is JSON.
		_ = yaml.Unmarshal(schema.Enum[d.IntN(len(schema.Enum))].Raw, &value)
		return value
	}
	switch schema.Type {
	case typeInteger:
		return d.integer(schema)
	case typeNumber:
		return d.number(schema)
	case typeBoolean:
		return d.chance(0.5)
	case typeString:
		return d.text(schema)
	case typeArray:
		return d.array(path, schema)
	}
	return d.object(path, schema)
}

// object draws the required properties and some of the others.
func (d *drawer) object(path string, schema *Schema) any {
	object := map[string]any{}
	if schema.XPreserveUnknownFields != nil && *schema.XPreserveUnknownFields {
		return d.anything(3)
	}
	if extra := schema.AdditionalProperties; extra != nil && extra.Schema != nil {
		for range d.IntN(3) {
			key := d.word()
			object[key] = d.draw(path+"."+key, extra.Schema)
		}
		return object
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		property, required := schema.Properties[name], slices.Contains(schema.Required, name)
		switch at := path + "." + name; {
		case required && d.chance(d.options.FaultRate):
			d.fault(at) // left out
		case !drawable(&property), !required && d.chance(0.6):
		default:
			object[name] = d.draw(at, &property)
		}
	}
	if d.chance(d.options.FaultRate) {
		unknown := "x" + d.word()
		d.fault(path + "." + unknown)
		object[unknown] = d.scalar()
	}
	return object
}

func (d *drawer) array(path string, schema *Schema) any {
	most := int64(3)
	if schema.MaxItems != nil {
		most = min(most, *schema.MaxItems)
	}
	list := []any{}
	if schema.Items == nil || schema.Items.Schema == nil || schema.XListType != nil && *schema.XListType != "atomic" {
		return list // elements that must differ from each other
	}
	for i := range d.Int64N(most + 1) {
		list = append(list, d.draw(fmt.Sprintf("%s[%d]", path, i), schema.Items.Schema))
	}
	return list
}

// drawable reports whether right values of a schema can be drawn at all: not those of a
// regular expression or a format, or of two types.
func drawable(schema *Schema) bool {
	return schema.Pattern == "" && !schema.XIntOrString && (schema.Type != typeString || schema.Format == "")
}

// word returns a short random word of lower-case letters.
func (d *drawer) word() string {
	letters := make([]byte, 1+d.IntN(8))
	for i := range letters {
		letters[i] = byte('a' + d.IntN(26))
	}
	return string(letters)
}

// anything returns an object of any fields, of the kind that the API server stores as it is.
func (d *drawer) anything(depth int) any {
	object := map[string]any{}
	for range d.IntN(4) {
		key := d.templateWord()
		switch {
		case depth > 0 && d.chance(0.5):
			object[key] = d.anything(depth - 1)
		case depth > 0 && d.chance(0.3):
			object[key] = []any{d.anything(depth - 1)}
		default:
			object[key] = d.scalar()
		}
	}
	return object
}

// templateWord is often a field of a pod template, the one thing that our kinds embed.
func (d *drawer) templateWord() string {
	fields := strings.Fields("metadata spec containers volumes name image resources limits nodeSelector labels env serviceAccountName restartPolicy")
	if d.chance(0.7) {
		return fields[d.IntN(len(fields))]
	}
	return d.word()
}

// scalar returns a value of any simple type.
func (d *drawer) scalar() any {
	return []any{d.word(), d.Int64N(1 << 40), -1.5, d.chance(0.5), "", "日本語"}[d.IntN(6)]
}
