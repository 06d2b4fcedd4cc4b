// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package ort

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// preparedVersion is part of a prepared graph's identity; it changes with what is in one.
const preparedVersion = 1

// Files of a prepared graph.
const (
	preparedGraph   = "model.onnx"
	preparedWeights = "weights.bin"
	preparedNote    = "record.json"
)

// maxPreparedGraph bounds the graph's file, which holds none of the large weights.
const maxPreparedGraph = 256 << 20

// preparedRecord says what a prepared graph is made of, and what its files hold. The graph
// is named by a cryptographic digest. The weights have a checksum, which notices damage as
// fast as they can be read: whoever may write to the store may write models anyway.
type preparedRecord struct {
	ID            string `json:"id"`
	Graph         string `json:"graphSHA256"`
	WeightsSize   int64  `json:"weightsBytes"`
	WeightsCRC32C uint32 `json:"weightsCRC32C"`
}

// writePreparedRecord describes the files in a folder, which were just written.
func writePreparedRecord(dir, id string) error {
	graph, err := readBounded(filepath.Join(dir, preparedGraph))
	if err != nil {
		return err
	}
	record := preparedRecord{ID: id, Graph: hashed(string(graph))}
	if record.WeightsSize, record.WeightsCRC32C, err = checksum(filepath.Join(dir, preparedWeights)); err != nil {
		return err
	}
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, preparedNote), data, 0o444)
}

// readPreparedRecord reads what a folder holds, and checks that it is what id says and that
// the graph is as it was written.
func readPreparedRecord(dir, id string) (preparedRecord, error) {
	var record preparedRecord
	name := filepath.Join(dir, preparedNote)
	data, err := readBounded(name)
	if err != nil {
		return record, err
	}
	if err := json.Unmarshal(data, &record); err != nil {
		return record, fmt.Errorf("%s: %w", name, err)
	}
	if record.ID != id {
		return record, fmt.Errorf("%s: id is %q; must be %q", name, record.ID, id)
	}
	name = filepath.Join(dir, preparedGraph)
	graph, err := readBounded(name)
	if err != nil {
		return record, err
	}
	if sum := hashed(string(graph)); sum != record.Graph {
		return record, fmt.Errorf("%s: has sha256 %s; must be %s, with which it was written", name, sum, record.Graph)
	}
	return record, nil
}

// checkWeights compares the weights with what was written.
func (p preparedRecord) checkWeights(dir string) error {
	name := filepath.Join(dir, preparedWeights)
	size, sum, err := checksum(name)
	if err != nil {
		return err
	}
	if size != p.WeightsSize || sum != p.WeightsCRC32C {
		return fmt.Errorf("%s: is %d bytes long with checksum %08x; must be %d with %08x, as it was written", name, size, sum, p.WeightsSize, p.WeightsCRC32C)
	}
	return nil
}

// checksum reads a file. One that is not there is empty: a graph may have no large weights.
func checksum(name string) (size int64, sum uint32, err error) {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = f.Close() }() // Only read from.
	hash := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	// Without the file's own copying, which would pass small pieces.
	size, err = io.CopyBuffer(hash, struct{ io.Reader }{f}, make([]byte, 1<<20))
	return size, hash.Sum32(), err
}

// readBounded reads a small file.
func readBounded(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPreparedGraph {
		return nil, fmt.Errorf("%s: is %d bytes long; must be %d at most", name, info.Size(), maxPreparedGraph)
	}
	return os.ReadFile(name)
}
