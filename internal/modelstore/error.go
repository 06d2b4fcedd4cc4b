// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package modelstore

import "strings"

// ModelError says which file of a model directory is wrong, where in it, and what
// would be right. Every defect of a model directory is reported as one of these:
// trying again can't help until the file is changed.
type ModelError struct {
	// File relative to the model directory, with forward slashes.
	File string
	// Field inside the file, such as a JSON key or the name of a graph's input;
	// empty where the file as a whole is at fault.
	Field string
	// Message says what was found and what would be right.
	Message string
	// Err is the cause, where there is one.
	Err error
}

// Error names file and field before the message.
func (e *ModelError) Error() string {
	var b strings.Builder
	b.WriteString("model file ")
	b.WriteString(e.File)
	if e.Field != "" {
		b.WriteString(": ")
		b.WriteString(e.Field)
	}
	b.WriteString(": ")
	b.WriteString(e.Message)
	return b.String()
}

// Unwrap gives the cause.
func (e *ModelError) Unwrap() error { return e.Err }
