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

// sessions gives a pointer to each session, with its name.
func (p *parts) sessions() map[string]*ort.Session {
	return map[string]*ort.Session{
		modelstore.TextEncoder: &p.textEncoder,
		modelstore.UNet:        &p.unet,
		modelstore.VAEDecoder:  &p.vaeDecoder,
	}
}

// close closes the sessions and gives what is left: nothing, unless a session could not
// be closed, which then stays.
func (p parts) close() (left parts, err error) {
	for name, session := range p.sessions() {
		if *session == nil {
			continue
		}
		if closeErr := (*session).Close(); closeErr != nil {
			*left.sessions()[name] = *session
			err = errors.Join(err, fmt.Errorf("closing %s: %w", name, closeErr))
		}
	}
	return left, err
}
