// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"os"

	"github.com/atelier-dev/atelier/internal/memory"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// TooLargeError says that a model's weights alone are more than the memory that the process
// can ever have, so that loading it can't work here, however often it is tried.
type TooLargeError struct {
	// Model is its name.
	Model string
	// Need is how many bytes the weights take, without anything that is computed of them.
	Need int64
	// Limit is how many there can be.
	Limit memory.Limit
}

// Error names the model and both numbers.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("model %s does not fit into memory: its weights alone are %d bytes, and %s is %d bytes; give the pool's runners more, or use a smaller model",
		e.Model, e.Need, e.Limit.Source, e.Limit.Bytes)
}

// systemMemory is the limit of this process.
func systemMemory() memory.Limit { return memory.ReadLimit(os.DirFS("/")) }

// checkFit refuses a model whose weights alone are more than there can be memory. One that
// is smaller may still turn out to need too much: how much else a picture takes is not
// known, and refusing a model that works would be worse. Weights that a GPU holds are not
// counted against the machine's memory.
func checkFit(runtime ort.Runtime, model Model, graphs map[string]graphFile, limit memory.Limit) error {
	device, err := runtime.ChooseDevice()
	if err != nil {
		return err
	}
	if device.Type != ort.CPU || limit.Bytes == 0 {
		return nil
	}
	need, err := weightBytes(graphs)
	if err != nil || need <= limit.Bytes {
		return err
	}
	return &TooLargeError{Model: model.Name, Need: need, Limit: limit}
}

// weightBytes is the size of the weights of all networks that are loaded together. The
// graphs' files hold little else.
func weightBytes(graphs map[string]graphFile) (int64, error) {
	var total int64
	for part, graph := range graphs {
		if part == modelstore.VAEEncoder {
			continue // Loaded when a picture needs it.
		}
		info, err := os.Stat(graph.path)
		if err != nil {
			return 0, err
		}
		total += info.Size()
		for _, external := range graph.External {
			total += external.Size
		}
	}
	return total, nil
}
