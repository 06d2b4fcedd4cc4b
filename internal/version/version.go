// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package version says what was built.
package version

// Version is set by the linker to what git describes.
var Version = "dev"
