// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Names of the files with the credentials, which are the keys of a Secret.
const (
	KeyAccessKeyID     = "AWS_ACCESS_KEY_ID"
	KeySecretAccessKey = "AWS_SECRET_ACCESS_KEY"
	// KeySessionToken may be missing.
	KeySessionToken = "AWS_SESSION_TOKEN"
)

// credentialsAge is how long credentials are used that were read: a Secret that is renewed
// is written to the same files.
const credentialsAge = 10 * time.Second

// secretFiles is a directory that a Secret is mounted at.
type secretFiles string

// Retrieve reads the credentials.
func (dir secretFiles) Retrieve(context.Context) (aws.Credentials, error) {
	id, err := dir.read(KeyAccessKeyID)
	if err != nil {
		return aws.Credentials{}, err
	}
	secret, err := dir.read(KeySecretAccessKey)
	if err != nil {
		return aws.Credentials{}, err
	}
	token, err := dir.read(KeySessionToken)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return aws.Credentials{}, err
	}
	return aws.Credentials{
		AccessKeyID: id, SecretAccessKey: secret, SessionToken: token,
		Source: string(dir), CanExpire: true, Expires: time.Now().Add(credentialsAge),
	}, nil
}

func (dir secretFiles) read(key string) (string, error) {
	data, err := os.ReadFile(filepath.Join(string(dir), key))
	if err != nil {
		return "", fmt.Errorf("the Secret with the store's credentials must be there and have the key %s: %w", key, err)
	}
	return strings.TrimSpace(string(data)), nil
}
