// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package incluster finds the API server and the credentials that a kubelet gives to a
// pod's process.
package incluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
)

// DirectoryEnv names the environment variable that says where the service account's
// files are. A node that runs pods without a mount namespace sets it; elsewhere it is
// unset and DefaultDirectory applies.
const DirectoryEnv = "ATELIER_SERVICEACCOUNT_DIR"

// DefaultDirectory is where every kubelet mounts a pod's service account.
const DefaultDirectory = "/var/run/secrets/kubernetes.io/serviceaccount"

// The files of a service account directory.
const (
	tokenFile     = "token"
	rootCAFile    = "ca.crt"
	namespaceFile = "namespace"
)

// The variables that a kubelet sets in every container.
const (
	hostEnv = "KUBERNETES_SERVICE_HOST"
	portEnv = "KUBERNETES_SERVICE_PORT"
)

// ErrNotInCluster is returned, wrapped, where no kubelet started this process.
var ErrNotInCluster = errors.New("not running in a cluster")

// Directory is where this process finds its service account's token, ca.crt and
// namespace.
func Directory() string {
	if dir := os.Getenv(DirectoryEnv); dir != "" {
		return dir
	}
	return DefaultDirectory
}

// Config returns a client configuration for the API server of the cluster this process
// runs in, as the pod's service account. The token is read again from its file about
// once a minute, as kubelets replace it before it expires. Differs from
// rest.InClusterConfig in three ways: the directory can be named by DirectoryEnv, a
// missing or broken ca.crt is an error rather than a log line, and the client does not limit
// itself.
//
// Outside of a cluster the error wraps ErrNotInCluster.
func Config() (*rest.Config, error) {
	host, port := os.Getenv(hostEnv), os.Getenv(portEnv)
	if host == "" || port == "" {
		return nil, fmt.Errorf("%w: %s=%q and %s=%q, but a kubelet sets both", ErrNotInCluster, hostEnv, host, portEnv, port)
	}
	token, ca := filepath.Join(Directory(), tokenFile), filepath.Join(Directory(), rootCAFile)
	bearer, err := os.ReadFile(token)
	if err != nil {
		return nil, fmt.Errorf("service account token (directory from %s, else %s): %w", DirectoryEnv, DefaultDirectory, err)
	}
	if _, err := certutil.NewPool(ca); err != nil {
		return nil, fmt.Errorf("certificate authority of the API server %s: %w", ca, err)
	}
	return &rest.Config{
		Host:            "https://" + net.JoinHostPort(host, port),
		TLSClientConfig: rest.TLSClientConfig{CAFile: ca},
		BearerToken:     strings.TrimSpace(string(bearer)),
		BearerTokenFile: token,
		// Left at 0 it would be 5 requests a second. How much a client may ask for
		// is the API server's to say, by priority and fairness.
		QPS: -1,
	}, nil
}

// Namespace returns the namespace of this process's pod.
func Namespace() (string, error) {
	data, err := os.ReadFile(filepath.Join(Directory(), namespaceFile))
	if err != nil {
		return "", fmt.Errorf("namespace of this pod: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
