// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package localcluster

import (
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// contextName is the one cluster, user and context in a kubeconfig of a local cluster.
const contextName = "atelier-local"

// writeKubeconfig writes a kubeconfig that holds everything itself, so that it can be
// used from any directory.
func writeKubeconfig(path, server string, ca []byte, client pair) error {
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			contextName: {Server: server, CertificateAuthorityData: ca},
		},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{
			contextName: {ClientCertificateData: client.certificate, ClientKeyData: client.key},
		},
		Contexts: map[string]*clientcmdapi.Context{
			contextName: {Cluster: contextName, AuthInfo: contextName, Namespace: "default"},
		},
		CurrentContext: contextName,
	}, path)
}

// loadKubeconfig reads a kubeconfig into a client configuration without a rate limit:
// the API server's own fairness rules are the limit.
func loadKubeconfig(path string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}
