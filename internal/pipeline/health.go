// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"strings"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// Health is the outcome of a health check.
type Health struct {
	Healthy bool
	// Reason is v1alpha1's ReasonIdle, ReasonLoaded, ReasonPartiallyLoaded or
	// ReasonCorrupted.
	Reason string
	// Message says what was found.
	Message string
}

// health judges the parts: none and all that belong together are healthy, every other
// combination is not.
func (p parts) health() Health {
	var there, missing []string
	for _, part := range p.list() {
		if part.there {
			there = append(there, part.name)
		} else {
			missing = append(missing, part.name)
		}
	}
	switch {
	case len(there) == 0:
		return Health{Healthy: true, Reason: v1alpha1.ReasonIdle, Message: "no model is loaded"}
	case len(missing) > 0:
		message := fmt.Sprintf("there: %s; missing: %s", strings.Join(there, ", "), strings.Join(missing, ", "))
		return Health{Reason: v1alpha1.ReasonPartiallyLoaded, Message: message}
	}
	if err := p.check(); err != nil {
		return Health{Reason: v1alpha1.ReasonCorrupted, Message: err.Error()}
	}
	return Health{Healthy: true, Reason: v1alpha1.ReasonLoaded, Message: "model " + p.model.Name + " is loaded"}
}

// check says why parts that are all there can't work together.
func (p parts) check() error {
	if err := p.config.Check(); err != nil {
		return err
	}
	for _, n := range p.networks() {
		if *n.session == nil {
			continue // One that the model does not have.
		}
		if err := (*n.session).Err(); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		if err := checkGraph(n.name, (*n.session).Graph(), p.config, p.tokenizer.MaxLength()); err != nil {
			return err
		}
	}
	return checkConfig(p.config, p.tokenizer, p.tokenizer2)
}
