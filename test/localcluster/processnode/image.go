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

// argv is the command line of a container, put together as container runtimes do: a
// command replaces both Entrypoint and Cmd, args replace Cmd. What the pod says speaks of
// the container's paths and is rewritten; what the image says is the host's already.
func (i Image) argv(command, args []string, rewrite func(string) string) []string {
	if len(command) == 0 && len(args) == 0 {
		return slices.Concat(i.Entrypoint, i.Cmd)
	}
	if len(command) == 0 {
		return slices.Concat(i.Entrypoint, each(args, rewrite))
	}
	argv := each(slices.Concat(command, args), rewrite)
	if host, ok := i.Files[command[0]]; ok {
		argv[0] = host
	}
	return argv
}

// each returns what f makes of each word.
func each(words []string, f func(string) string) []string {
	made := make([]string, len(words))
	for k, word := range words {
		made[k] = f(word)
	}
	return made
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
