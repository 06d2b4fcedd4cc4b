// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
)

// externalData says where the data of a tensor are that has them in another file.
type externalData struct {
	// file relative to the folder of the graph's; "" is none.
	file           string
	offset, length int64
}

// read takes one key and value of TensorProto.external_data. A second location is
// refused: ONNX Runtime might take the other one.
func (d *externalData) read(r *protoReader, end int64) error {
	key, value, err := r.entry(end)
	if err != nil {
		return err
	}
	switch key {
	case "location":
		if d.file != "" {
			return fmt.Errorf("a weight is in %q and in %q", d.file, value)
		}
		d.file = value
	case "offset":
		d.offset, err = place(key, value)
	case "length":
		d.length, err = place(key, value)
	}
	return err
}

// place reads a number of bytes.
func place(key, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("the %s of a weight is %q; must be a number of bytes", key, text)
	}
	return n, nil
}

// end is the number of bytes that the file has at least.
func (d externalData) end() (int64, error) {
	if d.length > math.MaxInt64-d.offset {
		return 0, fmt.Errorf("a weight in %q begins at byte %d and is %d bytes long", d.file, d.offset, d.length)
	}
	return d.offset + d.length, nil
}

// load reads the data, unless they are more than a small weight has.
func (d externalData) load(folder string) ([]byte, error) {
	if d.length > maxWeight {
		return nil, nil
	}
	f, err := os.Open(filepath.Join(folder, filepath.FromSlash(d.file)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // Only read from.
	data := make([]byte, d.length)
	_, err = f.ReadAt(data, d.offset)
	return data, err
}
