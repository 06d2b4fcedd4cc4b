// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"context"
	"io"
	"net/http"

	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	corev1 "k8s.io/api/core/v1"
)

// kubeletAPI is what the API server asks of a node for kubectl logs, exec and
// port-forward.
func (n *Node) kubeletAPI() http.Handler {
	routes := api.PodHandler(api.PodHandlerConfig{
		GetContainerLogs: n.containerLogs,
		RunInContainer:   n.runInContainer,
		PortForward:      n.portForward,
		GetPods:          n.pods, GetPodsFromKubernetes: n.pods,
	}, false)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// TLS has checked that the certificate is one of the cluster's, which users
		// and other nodes have as well.
		if name := r.TLS.PeerCertificates[0].Subject.CommonName; name != n.config.ClientName {
			http.Error(w, "only the API server may ask this node", http.StatusForbidden)
			return
		}
		routes.ServeHTTP(w, r)
	})
}

func (n *Node) containerLogs(ctx context.Context, namespace, name, container string, opts api.ContainerLogOpts) (io.ReadCloser, error) {
	w, err := n.find(namespace, name)
	if err != nil {
		return nil, err
	}
	return w.logs(ctx, container, opts)
}

func (n *Node) runInContainer(ctx context.Context, namespace, name, container string, command []string, attach api.AttachIO) error {
	w, err := n.find(namespace, name)
	if err != nil {
		return err
	}
	var stdout, stderr io.Writer
	if out := attach.Stdout(); out != nil {
		stdout = out
	}
	if out := attach.Stderr(); out != nil {
		stderr = out
	}
	return w.execute(ctx, container, command, attach.Stdin(), stdout, stderr)
}

func (n *Node) portForward(ctx context.Context, namespace, name string, port int32, stream io.ReadWriteCloser) error {
	w, err := n.find(namespace, name)
	if err != nil {
		return err
	}
	return w.forward(ctx, port, stream)
}

func (n *Node) pods(context.Context) ([]*corev1.Pod, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	pods := make([]*corev1.Pod, 0, len(n.workers))
	for _, worker := range n.workers {
		pods = append(pods, worker.pod.DeepCopy())
	}
	return pods, nil
}

// find is the worker of the pod of that name. Where one is still ending and another has
// begun, it is the newer one.
func (n *Node) find(namespace, name string) (*podWorker, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found *podWorker
	for _, worker := range n.workers {
		if worker.pod.Namespace != namespace || worker.pod.Name != name {
			continue
		}
		if found == nil || found.pod.CreationTimestamp.Before(&worker.pod.CreationTimestamp) {
			found = worker
		}
	}
	if found == nil {
		return nil, errdefs.NotFoundf("no pod %s/%s on node %s", namespace, name, n.config.Name)
	}
	return found, nil
}
