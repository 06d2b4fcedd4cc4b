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
	model       *Model
	tokenizer   *prompt.Tokenizer
	textEncoder ort.Session
	unet        ort.Session
	vaeDecoder  ort.Session
	scheduler   *diffusion.Config
	// config describes the parts; it is not one that work needs to be there.
	config modelstore.Config
}

// part is one of the parts by name, for messages.
type part struct {
	name  string
	there bool
}

// list gives the parts in the order in which a prompt passes them.
func (p parts) list() []part {
	return []part{
		{"model name", p.model != nil},
		{"tokenizer", p.tokenizer != nil},
		{modelstore.TextEncoder, p.textEncoder != nil},
		{modelstore.UNet, p.unet != nil},
		{modelstore.VAEDecoder, p.vaeDecoder != nil},
		{"scheduler", p.scheduler != nil},
	}
}

// network is the place of one of the sessions.
type network struct {
	name    string
	session *ort.Session
	// output that is computed.
	output string
}

// networks gives the places of the sessions, in the order in which they are loaded.
func (p *parts) networks() []network {
	return []network{
		{modelstore.TextEncoder, &p.textEncoder, outputStates},
		{modelstore.UNet, &p.unet, outputNoise},
		{modelstore.VAEDecoder, &p.vaeDecoder, outputPicture},
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
