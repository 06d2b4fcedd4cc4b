// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// Image says what a container image comes to on this node: which programs of the host
// stand for the ones inside it.
type Image struct {
	// Entrypoint and Cmd have the meaning they have in an image.
	Entrypoint, Cmd []string
	// Env is the image's own environment, as NAME=value.
	Env []string
	// Files maps paths that a pod's command may name to programs of the host.
	Files map[string]string
}

// argv is the command line of a container, put together as container runtimes do:
// a command replaces both Entrypoint and Cmd, args replace Cmd.
func (i Image) argv(command, args []string) []string {
	var argv []string
	switch {
	case len(command) > 0:
		argv = slices.Concat(command, args)
	case len(args) > 0:
		argv = slices.Concat(i.Entrypoint, args)
	default:
		argv = slices.Concat(i.Entrypoint, i.Cmd)
	}
	if len(argv) > 0 {
		if host, ok := i.Files[argv[0]]; ok {
			argv[0] = host
		}
	}
	return argv
}

// findImage looks an image up by its whole name, else by the last part of it without tag
// and digest: this node pulls nothing, so a registry and a version say nothing to it.
func findImage(images map[string]Image, name string) (Image, bool) {
	if image, ok := images[name]; ok {
		return image, true
	}
	image, ok := images[shortName(name)]
	return image, ok
}

func shortName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image, _, _ = strings.Cut(path.Base(image), ":")
	return image
}

// imageNames lists what a node knows, for messages.
func imageNames(images map[string]Image) string {
	return strings.Join(slices.Sorted(maps.Keys(images)), ", ")
}
