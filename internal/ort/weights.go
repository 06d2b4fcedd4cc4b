// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/x448/float16"
)

// Field numbers in onnx.proto that only weights need.
const (
	nodeInput  = 1
	nodeOutput = 2
	nodeOp     = 4

	tensorDataType  = 2
	tensorFloatData = 4
	tensorRawData   = 9
)

// maxWeight bounds the bytes of a weight that ReadWeight reads.
const maxWeight = 1 << 20

// weightParser finds a weight in a graph by the end of its name.
type weightParser struct {
	r      *protoReader
	suffix string
	// found are the names that end so.
	found []string
	// aliases map what a Cast or an Identity gives to what it takes: exporters put
	// these between weights that are shared, or stored shorter, and their names.
	aliases map[string]string
}

// weight is a TensorProto with what matters of its fields.
type weight struct {
	name     string
	kind     ElementType
	data     []byte
	external externalData
}

// ReadWeight reads a small float32 or float16 weight of the graph in the file at path:
// the one whose name is suffix or ends with a dot and suffix. It gives nothing where
// there is none, or more than one.
func ReadWeight(path, suffix string) ([]float32, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // Only read from.
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p := &weightParser{suffix: suffix, aliases: map[string]string{}}
	if err := p.walk(f, info.Size(), p.collect); err != nil {
		return nil, err
	}
	if len(p.found) != 1 {
		return nil, nil
	}
	target := p.found[0]
	for range len(p.aliases) {
		if next, ok := p.aliases[target]; ok {
			target = next
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var values []float32
	err = p.walk(f, info.Size(), func(field, end int64) error {
		if field != graphInitializer || values != nil {
			return nil
		}
		w, err := p.tensor(end, target)
		if err == nil && w.name == target {
			values, err = w.floats(filepath.Dir(path))
		}
		return err
	})
	return values, err
}

// walk calls field for each field of the file's graph.
func (p *weightParser) walk(f io.ReadSeeker, size int64, field func(number, end int64) error) error {
	p.r = newProtoReader(f)
	return p.r.message(size, func(number, end int64) error {
		if number != modelGraph {
			return nil
		}
		return p.r.message(end, field)
	})
}

// collect takes the names of weights, and of what stands for them.
func (p *weightParser) collect(field, end int64) error {
	switch field {
	case graphInitializer:
		w, err := p.tensor(end, "")
		p.note(w.name)
		return err
	case graphNode:
		return p.node(end)
	}
	return nil
}

// note keeps a name that ends as it must.
func (p *weightParser) note(name string) {
	if name == p.suffix || strings.HasSuffix(name, "."+p.suffix) {
		p.found = append(p.found, name)
	}
}

// node takes a NodeProto that gives its input another name.
func (p *weightParser) node(end int64) error {
	var input, output, op string
	err := p.r.message(end, func(field, end int64) (err error) {
		switch field {
		case nodeInput:
			input, err = p.r.text(end)
		case nodeOutput:
			output, err = p.r.text(end)
		case nodeOp:
			op, err = p.r.text(end)
		}
		return err
	})
	if err == nil && (op == "Cast" || op == "Identity") {
		p.aliases[output] = input
		p.note(output)
	}
	return err
}

// tensor takes a TensorProto: its name, and of the one that is wanted the rest, whatever
// the order of its fields.
func (p *weightParser) tensor(end int64, wanted string) (weight, error) {
	var w weight
	err := p.r.message(end, func(field, end int64) (err error) {
		switch {
		case field == tensorName:
			w.name, err = p.r.text(end)
		case wanted == "":
		case field == tensorDataType:
			w.kind = ElementType(p.r.number)
		case field == tensorExternalData:
			err = w.external.read(p.r, end)
		case (field == tensorRawData || field == tensorFloatData) && end-p.r.offset <= maxWeight:
			w.data, err = p.r.bytes(end)
		}
		return err
	})
	return w, err
}

// floats gives the elements, which may be in another file of the folder.
func (w weight) floats(folder string) ([]float32, error) {
	data := w.data
	if w.external.file != "" {
		var err error
		if data, err = w.external.load(folder); err != nil {
			return nil, fmt.Errorf("weight %s: %w", w.name, err)
		}
	}
	var values []float32
	switch w.kind {
	case TypeFloat32:
		for ; len(data) >= 4; data = data[4:] {
			values = append(values, math.Float32frombits(binary.LittleEndian.Uint32(data)))
		}
	case TypeFloat16:
		for ; len(data) >= 2; data = data[2:] {
			values = append(values, float16.Frombits(binary.LittleEndian.Uint16(data)).Float32())
		}
	}
	return values, nil
}
