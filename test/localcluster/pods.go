// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package localcluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/atelier-dev/atelier/test/localcluster/processnode"
)

// PID of a container's process.
func (c *Cluster) PID(pod *corev1.Pod, container string) (int, error) {
	node, err := c.nodeOf(pod)
	if err != nil {
		return 0, err
	}
	pid, ok := node.PID(pod.UID, container)
	if !ok {
		return 0, fmt.Errorf("container %s of pod %s/%s does not run", container, pod.Namespace, pod.Name)
	}
	return pid, nil
}

// RunningPods returns the pods of which a process runs, as the nodes know them: also
// while the API server is gone.
func (c *Cluster) RunningPods() []*corev1.Pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	var pods []*corev1.Pod
	for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
		pods = append(pods, c.nodes[name].RunningPods()...)
	}
	return pods
}

// KillContainer ends a container's process as the kernel does when memory runs out.
func (c *Cluster) KillContainer(pod *corev1.Pod, container string) error {
	pid, err := c.PID(pod, container)
	if err != nil {
		return err
	}
	if err := syscall.Kill(-pid, killSignal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("container %s of pod %s/%s: %w", container, pod.Namespace, pod.Name, err)
	}
	return nil
}

// Address on this machine of a port that a container of the pod declares.
func (c *Cluster) Address(pod *corev1.Pod, containerPort int) (string, error) {
	node, err := c.nodeOf(pod)
	if err != nil {
		return "", err
	}
	address, ok := node.Address(pod.UID, containerPort)
	if !ok {
		return "", fmt.Errorf("pod %s/%s declares no containerPort %d", pod.Namespace, pod.Name, containerPort)
	}
	return address, nil
}

// PodToken asks for a token of the pod's service account that is bound to the pod, as
// the node does for the pod itself.
func (c *Cluster) PodToken(ctx context.Context, pod *corev1.Pod) (string, error) {
	return c.token(ctx, pod.Namespace, pod.Spec.ServiceAccountName, &authenticationv1.BoundObjectReference{
		APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
	})
}

// ServiceAccountToken asks for a token of a service account that is bound to nothing.
func (c *Cluster) ServiceAccountToken(ctx context.Context, namespace, name string) (string, error) {
	return c.token(ctx, namespace, name, nil)
}

func (c *Cluster) token(ctx context.Context, namespace, name string, bound *authenticationv1.BoundObjectReference) (string, error) {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return "", err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: bound}}
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return token.Status.Token, nil
}

func (c *Cluster) nodeOf(pod *corev1.Pod) (*processnode.Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	node, ok := c.nodes[pod.Spec.NodeName]
	if !ok {
		return nil, fmt.Errorf("pod %s/%s: node %q does not run", pod.Namespace, pod.Name, pod.Spec.NodeName)
	}
	return node, nil
}
