// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// Credentials finds the name and the password for a server in a Docker configuration
// file, as a Secret of type kubernetes.io/dockerconfigjson holds one.
type Credentials struct {
	// File is the configuration; "" is no credentials.
	File string
}

// DockerConfig gives the configuration file that docker and oras use: config.json in
// $DOCKER_CONFIG; "" without the variable.
func DockerConfig() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	return ""
}

// find gives the credential for a server. The file is read each time, as a Secret that
// is renewed is written to the same place.
func (c Credentials) find(ctx context.Context, hostport string) (auth.Credential, error) {
	if c.File == "" {
		return auth.EmptyCredential, nil
	}
	store, err := credentials.NewStore(c.File, credentials.StoreOptions{})
	if err != nil {
		return auth.EmptyCredential, fmt.Errorf("credentials in %s: %w", c.File, err)
	}
	return credentials.Credential(store)(ctx, hostport)
}
