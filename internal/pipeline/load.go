// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"path"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/prompt"
)

// load reads a model directory: first what is small, checking that it fits together,
// then the networks. After an error it gives what could not be closed again: nothing.
func load(ctx context.Context, runtime ort.Runtime, model Model) (parts, error) {
	dir, err := modelstore.Open(model.Dir)
	if err != nil {
		return parts{}, err
	}
	defer func() { _ = dir.Close() }() // Only read from.
	p := parts{model: &model}
	if err := p.read(ctx, runtime, dir); err != nil {
		left, closeErr := p.close()
		return left, errors.Join(err, closeErr)
	}
	return p, nil
}

// read fills in the parts one by one.
func (p *parts) read(ctx context.Context, runtime ort.Runtime, dir *modelstore.Directory) error {
	if err := p.readSmall(dir); err != nil {
		return err
	}
	for _, n := range p.networks() {
		if err := ctx.Err(); err != nil {
			return err
		}
		session, err := p.open(runtime, dir, n.name, n.output)
		if err != nil {
			return err
		}
		*n.session = session
	}
	return p.check()
}

// readSmall reads the configurations and the tokenizer.
func (p *parts) readSmall(dir *modelstore.Directory) (err error) {
	if p.config, err = dir.ReadConfig(); err != nil {
		return err
	}
	if p.tokenizer, err = readTokenizer(dir); err != nil {
		return err
	}
	if p.scheduler, err = readScheduler(dir); err != nil {
		return err
	}
	return checkConfig(p.config, p.tokenizer)
}

// readTokenizer reads the tokenizer's folder.
func readTokenizer(dir *modelstore.Directory) (*prompt.Tokenizer, error) {
	var files prompt.Files
	for _, f := range []struct {
		name string
		read func(string) ([]byte, error)
		into *[]byte
	}{
		{prompt.VocabularyFile, dir.Read, &files.Vocabulary},
		{prompt.MergesFile, dir.Read, &files.Merges},
		{prompt.ConfigFile, dir.ReadOptional, &files.Config},
		{prompt.SpecialsFile, dir.ReadOptional, &files.Specials},
	} {
		var err error
		if *f.into, err = f.read(modelstore.TokenizerFile(f.name)); err != nil {
			return nil, err
		}
	}
	tokenizer, err := prompt.NewTokenizer(files)
	if bad, ok := errors.AsType[*prompt.FileError](err); ok {
		return nil, &ModelError{File: modelstore.TokenizerFile(bad.File), Field: bad.Field, Message: bad.Message, Err: err}
	}
	return tokenizer, err
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
		_, err = diffusion.New(config.Class(), config, 1)
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

// open checks the graph of a part in its file, before the weights are read, and loads it.
func (p *parts) open(runtime ort.Runtime, dir *modelstore.Directory, part, output string) (ort.Session, error) {
	name := modelstore.GraphFile(part)
	file, err := dir.File(name)
	if err != nil {
		return nil, err
	}
	graph, err := openGraph(dir, part, file)
	if err != nil {
		return nil, err
	}
	if err := checkGraph(part, graph, p.config, p.tokenizer.MaxLength()); err != nil {
		return nil, err
	}
	session, err := runtime.Open(file, graph, output)
	if bad, ok := errors.AsType[*ort.GraphError](err); ok {
		return nil, &ModelError{File: name, Message: bad.Error(), Err: err}
	}
	return session, err
}

// openGraph reads what the graph of a part takes and gives, and checks that the files
// with its weights are there and inside the model directory.
func openGraph(dir *modelstore.Directory, part, file string) (ort.Graph, error) {
	graph, err := ort.ReadGraph(file)
	if err != nil {
		return ort.Graph{}, &ModelError{File: modelstore.GraphFile(part), Message: err.Error(), Err: err}
	}
	for _, external := range graph.External {
		if _, err := dir.File(path.Join(part, external)); err != nil {
			return ort.Graph{}, err
		}
	}
	return graph, nil
}
