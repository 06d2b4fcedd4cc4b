// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package localcluster

import (
	"errors"
	"net"
	"os"
	"path/filepath"
)

// The files that WriteKubeletFiles writes.
const (
	KubeletKubeconfig  = "kubelet.kubeconfig"
	KubeletCertificate = "kubelet.crt"
	KubeletKey         = "kubelet.key"
	ClientCA           = "ca.crt"
)

// WriteKubeletFiles writes what a real kubelet needs to be a node of the cluster: a kubeconfig
// with the node's identity, what it serves with at its address, and the authority by which it
// knows the API server.
func (c *Cluster) WriteKubeletFiles(dir, node string, address net.IP) error {
	client, server, err := c.plane.authority.node(node, address)
	if err != nil {
		return err
	}
	return errors.Join(
		writeKubeconfig(filepath.Join(dir, KubeletKubeconfig), c.plane.url(), c.plane.authority.pem, client),
		os.WriteFile(filepath.Join(dir, KubeletCertificate), server.certificate, 0o600),
		os.WriteFile(filepath.Join(dir, KubeletKey), server.key, 0o600),
		os.WriteFile(filepath.Join(dir, ClientCA), c.plane.authority.pem, 0o600),
	)
}
