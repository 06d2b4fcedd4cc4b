// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sync/errgroup"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/memory"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
)

// load reads a model directory: first what is small, checking that it fits together,
// then the networks. After an error it gives what could not be closed again: nothing.
func load(ctx context.Context, runtime ort.Runtime, model Model, limit memory.Limit) (parts, error) {
	dir, err := modelstore.Open(model.Dir)
	if err != nil {
		return parts{}, err
	}
	defer func() { _ = dir.Close() }() // Only read from.
	p := parts{model: &model}
	if err := p.read(ctx, runtime, dir, limit); err != nil {
		left, closeErr := p.close()
		return left, errors.Join(err, closeErr)
	}
	return p, nil
}

// read fills in the parts one by one.
func (p *parts) read(ctx context.Context, runtime ort.Runtime, dir *modelstore.Directory, limit memory.Limit) error {
	if err := p.readSmall(dir); err != nil {
		return err
	}
	graphs, err := readGraphs(dir, p.config)
	if err != nil {
		return err
	}
	if err := p.settle(graphs); err != nil {
		return err
	}
	if err := checkFit(runtime, *p.model, graphs, limit); err != nil {
		return err
	}
	if err := p.openAll(ctx, runtime, graphs); err != nil {
		return err
	}
	return p.check()
}

// openAll loads the networks side by side, as most of the work of loading one is for one
// processor. After an error the others are waited for, and are left to be closed.
func (p *parts) openAll(ctx context.Context, runtime ort.Runtime, graphs map[string]graphFile) error {
	var group errgroup.Group
	for _, n := range p.networks() {
		graph, ok := graphs[n.name]
		if !ok {
			continue
		}
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return p.open(runtime, n, graph)
		})
	}
	return group.Wait()
}

// readSmall reads the configurations and the tokenizers.
func (p *parts) readSmall(dir *modelstore.Directory) (err error) {
	if p.config, err = dir.ReadConfig(); err != nil {
		return err
	}
	if p.tokenizer, err = readTokenizer(dir, modelstore.Tokenizer); err != nil {
		return err
	}
	if p.config.TextEncoder2 != nil {
		if p.tokenizer2, err = readTokenizer(dir, modelstore.Tokenizer2); err != nil {
			return err
		}
	}
	p.scheduler, err = readScheduler(dir)
	return err
}

// settle finds the sizes of all parts and checks that they fit together, before any
// weights are read.
func (p *parts) settle(graphs map[string]graphFile) (err error) {
	if p.config, err = complete(p.config, graphs); err != nil {
		return err
	}
	if err := checkConfig(p.config, p.tokenizer, p.tokenizer2); err != nil {
		return err
	}
	for _, n := range p.networks() {
		if graph, ok := graphs[n.name]; ok {
			p.parameters += graph.Parameters
			if err := checkGraph(n.name, graph.Graph, p.config, p.tokenizer.MaxLength()); err != nil {
				return err
			}
		}
	}
	if _, ok := graphs[modelstore.TextEncoder].Output(outputHidden + "0"); ok && p.config.TextEncoder2 == nil {
		if p.norm, err = readNorm(graphs[modelstore.TextEncoder].path, p.config.TextEncoder); err != nil {
			return err
		}
	}
	p.extras, err = readExtras(graphs[modelstore.UNet].Graph, p.config)
	return err
}

// readScheduler reads the scheduler's configuration. One whose class is not supported is
// kept, as a request can name another class; one that is supported must be valid.
func readScheduler(dir *modelstore.Directory) (*diffusion.Config, error) {
	data, err := dir.Read(modelstore.SchedulerFile)
	if err != nil {
		return nil, err
	}
	config, err := diffusion.ParseConfig(data)
	if err == nil && diffusion.Supported(config.Class()) {
		err = diffusion.Check(config.Class(), config)
	}
	if err != nil {
		return nil, schedulerError(err)
	}
	return &config, nil
}

// schedulerError names the file of a *diffusion.ConfigError.
func schedulerError(err error) error {
	if bad, ok := errors.AsType[*diffusion.ConfigError](err); ok {
		return &ModelError{File: modelstore.SchedulerFile, Field: bad.Field, Message: bad.Message, Err: err}
	}
	return err
}

// graphFile is what the file of a part says that the part takes and gives.
type graphFile struct {
	ort.Graph
	path string
}

// readGraphs reads the graphs of the parts that the model must have, and of the encoder
// of pictures where it is there.
func readGraphs(dir *modelstore.Directory, c modelstore.Config) (map[string]graphFile, error) {
	graphs := map[string]graphFile{}
	for _, part := range partNames(c) {
		file, err := dir.File(modelstore.GraphFile(part))
		if part == modelstore.VAEEncoder && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		graph, err := openGraph(dir, part, file)
		if err != nil {
			return nil, err
		}
		graphs[part] = graphFile{graph, file}
	}
	return graphs, nil
}

// partNames are the parts with a graph, in the order in which they are loaded.
func partNames(c modelstore.Config) []string {
	if c.TextEncoder2 != nil {
		return []string{modelstore.TextEncoder, modelstore.TextEncoder2, modelstore.UNet, modelstore.VAEDecoder, modelstore.VAEEncoder}
	}
	return []string{modelstore.TextEncoder, modelstore.UNet, modelstore.VAEDecoder, modelstore.VAEEncoder}
}

// open loads a part, or has it loaded when it is first used.
func (p *parts) open(runtime ort.Runtime, n network, graph graphFile) (err error) {
	open := func() (ort.Session, error) {
		session, err := runtime.Open(graph.path, graph.Graph, computed(n.name, graph.Graph, p.config)...)
		if bad, ok := errors.AsType[*ort.GraphError](err); ok {
			return nil, &ModelError{File: modelstore.GraphFile(n.name), Message: bad.Error(), Err: err}
		}
		return session, err
	}
	if n.name == modelstore.VAEEncoder {
		*n.session = &deferred{graph: graph.Graph, open: open}
		return nil
	}
	session, err := open()
	if err != nil {
		return err
	}
	*n.session = session
	return nil
}

// openGraph reads what the graph of a part takes and gives, and checks that the files
// with its weights are there, whole, and inside the model directory.
func openGraph(dir *modelstore.Directory, part, file string) (ort.Graph, error) {
	graph, err := ort.ReadGraph(file)
	if err != nil {
		return ort.Graph{}, &ModelError{File: modelstore.GraphFile(part), Message: err.Error(), Err: err}
	}
	for _, external := range graph.External {
		if err := checkExternal(dir, part, external); err != nil {
			return ort.Graph{}, err
		}
	}
	return graph, nil
}

// checkExternal checks a file with weights of a part.
func checkExternal(dir *modelstore.Directory, part string, external ort.ExternalFile) error {
	if path.IsAbs(external.Name) {
		return &ModelError{File: modelstore.GraphFile(part), Field: "external data", Message: fmt.Sprintf("is in %q; must be in a file of the model", external.Name)}
	}
	name := path.Join(part, external.Name)
	file, err := dir.File(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.Size() < external.Size {
		says := modelstore.GraphFile(part)
		return &ModelError{File: name, Message: fmt.Sprintf("is %d bytes long, so it was cut short; must be %d at least, which %s says", info.Size(), external.Size, says)}
	}
	return nil
}
