// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package localcluster is a Kubernetes cluster on one machine, without containers and
// without privileges: etcd, kube-apiserver, kube-controller-manager and kube-scheduler as
// processes, and nodes (package processnode) that run pods as processes. It is what
// `make demo`, `make up` and the tests under test/ use. Authentication, authorization,
// admission, scheduling and garbage collection are the real ones.
//
// A cluster lives in a temporary directory and listens on 127.0.0.1 only. Its processes
// end with the process that started it, also when that one is killed.
package localcluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/atelier-dev/atelier/test/internal/repository"
	"github.com/atelier-dev/atelier/test/localcluster/processnode"
)

// Options say what a cluster is made of. The zero value is one node with one GPU.
type Options struct {
	// Root is the repository's top directory. Without it the one around the working
	// directory.
	Root string
	// Nodes to start with. Nil is one, named node-1, with one GPU; empty is none.
	Nodes []NodeOptions
	// APIServerPort is where the API server listens. Without it on a free port.
	APIServerPort int
	// Images that nodes can run, by name. Without any those of this repository, see Images.
	Images map[string]processnode.Image
	// ExtraArgs for components of the control plane.
	ExtraArgs ExtraArgs
	// Log receives what goes wrong in the background. Without it nothing does.
	Log *slog.Logger
}

// ExtraArgs are command-line arguments that follow those a component always gets.
type ExtraArgs struct {
	APIServer, ControllerManager, Scheduler []string
}

// NodeOptions say what one node offers.
type NodeOptions struct {
	// Name of the node.
	Name string
	// GPUs is the number of nvidia.com/gpu.
	GPUs int
	// Labels beside those that every node has.
	Labels map[string]string
	// Backoff of containers that keep ending. Without it the kubelet's.
	Backoff processnode.Backoff
}

// Cluster is a running cluster.
type Cluster struct {
	options Options
	dir     string
	plane   *controlPlane
	config  *rest.Config

	// StartTimes says how long the parts took to start.
	StartTimes StartTimes

	mu    sync.Mutex
	nodes map[string]*processnode.Node
}

// StartTimes says how long the parts of a cluster took to start.
type StartTimes struct {
	ControlPlane, Nodes time.Duration
}

// Start starts a cluster and returns when pods can be scheduled. Stop it in the end.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	if err := options.complete(); err != nil {
		return nil, err
	}
	found, err := findBinaries(options.Root)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "atelier-local-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		options: options, dir: dir, nodes: map[string]*processnode.Node{},
		plane: &controlPlane{dir: dir, binaries: found, extra: options.ExtraArgs, port: options.APIServerPort},
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (o *Options) complete() (err error) {
	if o.Root == "" {
		if o.Root, err = repository.Root(); err != nil {
			return err
		}
	}
	if o.Nodes == nil {
		o.Nodes = []NodeOptions{{Name: "node-1", GPUs: 1}}
	}
	if o.Images == nil {
		o.Images = Images(o.Root)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (c *Cluster) start(ctx context.Context) error {
	begin := time.Now()
	if err := c.plane.start(ctx); err != nil {
		return err
	}
	config, err := loadKubeconfig(c.Kubeconfig())
	if err != nil {
		return err
	}
	c.config = config
	c.StartTimes.ControlPlane = time.Since(begin)

	begin = time.Now()
	for _, options := range c.options.Nodes {
		if err := c.StartNode(ctx, options); err != nil {
			return err
		}
	}
	c.StartTimes.Nodes = time.Since(begin)
	return nil
}

// Stop ends every process of the cluster, waits for them, and removes its files.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	nodes := c.nodes
	c.nodes = map[string]*processnode.Node{}
	c.mu.Unlock()
	for _, node := range nodes {
		node.Stop()
	}
	c.plane.stop()
	return os.RemoveAll(c.dir)
}

// StartNode adds a node, or starts one again that was stopped. It is Ready when
// StartNode returns.
func (c *Cluster) StartNode(ctx context.Context, options NodeOptions) error {
	config, err := c.nodeConfig(options)
	if err != nil {
		return fmt.Errorf("node %s: %w", options.Name, err)
	}
	node, err := processnode.Start(ctx, config)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[options.Name] = node
	return nil
}

// StopNode ends a node and its processes as a power cut does. Its Node object stays, and
// becomes NotReady when its lease has run out.
func (c *Cluster) StopNode(name string) error {
	c.mu.Lock()
	node, ok := c.nodes[name]
	delete(c.nodes, name)
	c.mu.Unlock()
	if !ok {
		return fmt.Errorf("node %s does not run", name)
	}
	node.Stop()
	return nil
}

// RestartAPIServer ends the API server as a power cut does, has it gone for a while, and
// starts it again. It is ready when RestartAPIServer returns. One call at a time.
func (c *Cluster) RestartAPIServer(ctx context.Context, gone time.Duration) error {
	return c.plane.restartAPIServer(ctx, gone)
}

// EtcdURL is where the cluster's etcd serves, also while the API server is gone.
func (c *Cluster) EtcdURL() string { return c.plane.etcdURL }

// nodeConfig gives a node its identity and what it needs to reach the API server.
func (c *Cluster) nodeConfig(options NodeOptions) (processnode.Config, error) {
	client, server, err := c.plane.authority.node(options.Name, net.IPv4(127, 0, 0, 1))
	if err != nil {
		return processnode.Config{}, err
	}
	serving, err := server.tls()
	if err != nil {
		return processnode.Config{}, err
	}
	config := &rest.Config{Host: c.plane.url(), QPS: -1, TLSClientConfig: rest.TLSClientConfig{
		CAData: c.plane.authority.pem, CertData: client.certificate, KeyData: client.key,
	}}
	return processnode.Config{
		Name: options.Name, Labels: options.Labels, GPUs: options.GPUs, Backoff: options.Backoff,
		Images: c.options.Images, Dir: filepath.Join(c.dir, "nodes", options.Name),
		REST: config, APIServerHost: "127.0.0.1", APIServerPort: strconv.Itoa(c.plane.port),
		ServingCertificate: serving, ClientCAs: c.plane.authority.pool(), ClientName: KubeletClientUser,
		Log: c.options.Log.With("node", options.Name),
	}, nil
}

// Dir holds the cluster's files and the logs of its components, until Stop.
func (c *Cluster) Dir() string { return c.dir }

// Kubeconfig is the path of a kubeconfig of the cluster's administrator.
func (c *Cluster) Kubeconfig() string { return c.plane.kubeconfig("admin") }

// Kubectl is the path of the cluster's own kubectl.
func (c *Cluster) Kubectl() string { return c.plane.binaries.kubectl }

// Config is a client configuration of the cluster's administrator.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// TokenConfig is a client configuration whose bearer is whoever has the token.
func (c *Cluster) TokenConfig(token string) *rest.Config {
	return &rest.Config{
		Host: c.plane.url(), QPS: -1, BearerToken: token,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.plane.authority.pem},
	}
}
