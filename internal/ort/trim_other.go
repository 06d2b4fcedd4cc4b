// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package ort

// trimMemory does nothing: other systems' C libraries give freed memory back by themselves.
func trimMemory() {}
