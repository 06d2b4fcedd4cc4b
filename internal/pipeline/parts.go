// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"

	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/modelstore"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/prompt"
)

// parts are what a loaded pipeline consists of. The zero value is an idle one.
type parts struct {
	model     *Model
	tokenizer *prompt.Tokenizer
	// tokenizer2 and textEncoder2 are nil for a model with one text encoder.
	tokenizer2   *prompt.Tokenizer
	textEncoder  ort.Session
	textEncoder2 ort.Session
	unet         ort.Session
	vaeDecoder   ort.Session
	// vaeEncoder is nil where the model has none. It is loaded when it is first run.
	vaeEncoder ort.Session
	scheduler  *diffusion.Config
	// config describes the parts; it is not one that work needs to be there.
	config modelstore.Config
	// norm is the last step of a text encoder of which layers can be left out; nil
	// where they can't, or where it has no part in that.
	norm *layerNorm
	// extras is what else the denoising network takes.
	extras extras
	// parameters is the number of weights in all networks.
	parameters int64
}

// part is one of the parts by name, for messages.
type part struct {
	name  string
	there bool
}

// list gives the parts that a model must have, in the order in which a prompt passes
// them.
func (p parts) list() []part {
	list := []part{
		{"model name", p.model != nil},
		{"tokenizer", p.tokenizer != nil},
		{modelstore.TextEncoder, p.textEncoder != nil},
	}
	if p.config.TextEncoder2 != nil {
		list = append(list, part{modelstore.Tokenizer2, p.tokenizer2 != nil}, part{modelstore.TextEncoder2, p.textEncoder2 != nil})
	}
	return append(list,
		part{modelstore.UNet, p.unet != nil},
		part{modelstore.VAEDecoder, p.vaeDecoder != nil},
		part{"scheduler", p.scheduler != nil},
	)
}

// network is the place of one of the sessions.
type network struct {
	name    string
	session *ort.Session
}

// networks gives the places of the sessions, in the order in which they are loaded;
// models have all but some that are named optional.
func (p *parts) networks() []network {
	return []network{
		{modelstore.TextEncoder, &p.textEncoder},
		{modelstore.TextEncoder2, &p.textEncoder2}, // Optional.
		{modelstore.UNet, &p.unet},
		{modelstore.VAEDecoder, &p.vaeDecoder},
		{modelstore.VAEEncoder, &p.vaeEncoder}, // Optional.
	}
}

// close closes the sessions and gives what is left: nothing, unless a session could not
// be closed, which then stays.
func (p parts) close() (left parts, err error) {
	kept := left.networks()
	for i, n := range p.networks() {
		if *n.session == nil {
			continue
		}
		if closeErr := (*n.session).Close(); closeErr != nil {
			*kept[i].session = *n.session
			err = errors.Join(err, fmt.Errorf("closing %s: %w", n.name, closeErr))
		}
	}
	return left, err
}
