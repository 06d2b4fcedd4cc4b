// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package processnode is a Kubernetes node that runs each container of a pod as a local
// process. To the API server and to the scheduler it is a node like any other: it
// registers, renews its lease, serves the kubelet's API, and reports what becomes of its
// pods. It authenticates as a node and is held to what a node may do.
//
// What a container gets: its command and arguments, environment, volumes, service
// account token, probes, restarts with back-off, signals, logs. What it does not get, as
// nothing here needs privileges: namespaces and limits. Its process sees the files and
// the network of the host. Two things are therefore put right in its arguments and in
// its environment:
//
//   - A path below a volumeMount becomes the path of the volume on the host.
//   - A listen address with a port that the container declares, such as :8080, becomes a
//     free port on 127.0.0.1, which probes and port forwarding use as well.
//
// The directory of the service account's token is named by the variable of package
// incluster. Images are names of programs of the host (see Image); nothing is pulled.
//
// Registration, lease and the kubelet's API come from the virtual-kubelet library. Its
// pod controller is not used: it removes a pod's object by the clock, where a kubelet
// does so when the processes are gone, and who schedules GPUs relies on that.
package processnode

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/node"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"github.com/atelier-dev/atelier/test/internal/ports"
)

// Config says what a node is.
type Config struct {
	// Name of the node.
	Name string
	// Labels beside those that every node has.
	Labels map[string]string
	// GPUs is how many nvidia.com/gpu the node offers. GPU i is the host's device i.
	GPUs int
	// Images by name, see Image.
	Images map[string]Image
	// Backoff of containers that keep ending. The zero value is DefaultBackoff.
	Backoff Backoff

	// Dir holds volumes and logs of the pods.
	Dir string
	// REST reaches the API server as the user system:node:<Name>.
	REST *rest.Config
	// APIServerHost and APIServerPort are given to containers.
	APIServerHost, APIServerPort string
	// ServingCertificate of the kubelet's API, on 127.0.0.1.
	ServingCertificate tls.Certificate
	// ClientCAs signed the certificate of the one client of the kubelet's API, the API
	// server, whose common name is ClientName.
	ClientCAs  *x509.CertPool
	ClientName string
	// Log receives what goes wrong between the node and the API server.
	Log *slog.Logger
}

// Resources that a node states. They keep nobody from using more, so that the requests
// of real pods fit on a laptop.
var capacity = corev1.ResourceList{
	corev1.ResourceCPU:              resource.MustParse("64"),
	corev1.ResourceMemory:           resource.MustParse("256Gi"),
	corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
	corev1.ResourcePods:             resource.MustParse("500"),
}

// leaseDurationSeconds is the kubelet's.
const leaseDurationSeconds = 40

// Node is a running node.
type Node struct {
	config   Config
	client   kubernetes.Interface
	gpus     *gpus
	ports    ports.Pool
	recorder record.EventRecorder

	stop  context.CancelFunc
	group sync.WaitGroup // of what runs until the node stops

	mu      sync.Mutex
	stopped bool
	workers map[types.UID]*podWorker
}

// Start registers the node and begins to run pods that are bound to it. The node is
// Ready when Start returns.
func Start(ctx context.Context, config Config) (*Node, error) {
	if config.Backoff == (Backoff{}) {
		config.Backoff = DefaultBackoff
	}
	client, err := kubernetes.NewForConfig(config.REST)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", config.Name, err)
	}
	if err := os.MkdirAll(filepath.Join(config.Dir, "pods"), 0o755); err != nil {
		return nil, fmt.Errorf("node %s: %w", config.Name, err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	n := &Node{config: config, client: client, gpus: newGPUs(config.GPUs), stop: stop, workers: map[types.UID]*podWorker{}}
	if err := n.start(ctx, running); err != nil {
		n.Stop()
		return nil, fmt.Errorf("node %s: %w", config.Name, err)
	}
	return n, nil
}

// start starts the parts of the node; they run until the context running ends.
func (n *Node) start(ctx, running context.Context) error {
	n.record(running)
	port, err := n.serve(running)
	if err != nil {
		return err
	}
	if err := n.watchPods(ctx, running); err != nil {
		return err
	}
	return n.register(ctx, running, port)
}

// Stop ends the node as a power cut does: all processes are gone when it returns, and
// the API server is told nothing. A node of the same name and directory can be started
// afterwards, and runs the pods that are still bound to it again.
func (n *Node) Stop() {
	n.stop()
	n.mu.Lock()
	n.stopped = true
	workers := make([]*podWorker, 0, len(n.workers))
	for _, worker := range n.workers {
		worker.abandon()
		workers = append(workers, worker)
	}
	n.mu.Unlock()
	for _, worker := range workers {
		<-worker.done
	}
	n.group.Wait()
}

// record sends events to the API server until ctx ends.
func (n *Node) record(ctx context.Context) {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: n.client.CoreV1().Events("")})
	n.recorder = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: n.config.Name})
	n.group.Go(func() {
		<-ctx.Done()
		broadcaster.Shutdown()
	})
}

// serve serves the kubelet's API to the API server.
func (n *Node) serve(ctx context.Context) (port int32, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("kubelet API: %w", err)
	}
	server := &http.Server{
		Handler:           n.kubeletAPI(),
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          slog.NewLogLogger(n.config.Log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{n.config.ServingCertificate},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    n.config.ClientCAs,
			MinVersion:   tls.VersionTLS12,
		},
	}
	n.group.Go(func() {
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			n.config.Log.Error("the kubelet API ended", "error", err)
		}
	})
	n.group.Go(func() {
		<-ctx.Done()
		_ = server.Close()
	})
	return int32(listener.Addr().(*net.TCPAddr).Port), nil
}

// register makes the Node object and keeps its lease until running ends.
func (n *Node) register(ctx, running context.Context, port int32) error {
	controller, err := node.NewNodeController(node.NaiveNodeProvider{}, n.object(port), n.client.CoreV1().Nodes(),
		node.WithNodeEnableLeaseV1(n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease), leaseDurationSeconds))
	if err != nil {
		return err
	}
	n.group.Go(func() {
		if err := controller.Run(running); err != nil && running.Err() == nil {
			n.config.Log.Error("the node controller ended", "error", err)
		}
	})
	select {
	case <-controller.Ready():
		return nil
	case <-controller.Done():
		return fmt.Errorf("registration: %w", controller.Err())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// object is the Node that is registered.
func (n *Node) object(port int32) *corev1.Node {
	resources := capacity.DeepCopy()
	resources[GPUResource] = *resource.NewQuantity(int64(n.config.GPUs), resource.DecimalSI)
	labels := map[string]string{
		corev1.LabelHostname:   n.config.Name,
		corev1.LabelOSStable:   runtime.GOOS,
		corev1.LabelArchStable: runtime.GOARCH,
	}
	maps.Copy(labels, n.config.Labels)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.config.Name, Labels: labels},
		Status: corev1.NodeStatus{
			Capacity: resources, Allocatable: resources,
			Conditions: conditions(),
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: loopback},
				{Type: corev1.NodeHostName, Address: n.config.Name},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: port}},
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion: "v1.37.2-process", ContainerRuntimeVersion: "process://1",
				OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH, OSImage: "processes of this machine",
			},
		},
	}
}

func conditions() []corev1.NodeCondition {
	now := now()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, Message: message, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	const reason, message = "NotMeasured", "the process node has no limits"
	return []corev1.NodeCondition{
		condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "the process node runs pods"),
		condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, reason, message),
		condition(corev1.NodeDiskPressure, corev1.ConditionFalse, reason, message),
		condition(corev1.NodePIDPressure, corev1.ConditionFalse, reason, message),
	}
}

// now is the time as the API keeps it, in whole seconds.
func now() metav1.Time { return metav1.Now().Rfc3339Copy() }

// PID of a container's process, for tests that end it. It is false when none runs.
func (n *Node) PID(pod types.UID, container string) (int, bool) {
	w := n.worker(pod)
	if w == nil {
		return 0, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	running := w.processes[container]
	if running == nil || w.statuses[container].State.Running == nil {
		return 0, false
	}
	return running.process.PID(), true
}

// RunningPods returns the pods of which a container's process runs, as they were bound.
func (n *Node) RunningPods() []*corev1.Pod {
	n.mu.Lock()
	workers := slices.Collect(maps.Values(n.workers))
	n.mu.Unlock()
	var pods []*corev1.Pod
	for _, w := range workers {
		if slices.ContainsFunc(w.pod.Spec.Containers, func(c corev1.Container) bool { _, runs := n.PID(w.pod.UID, c.Name); return runs }) {
			pods = append(pods, w.pod)
		}
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return pods
}

// Address on the host of a port that a container of the pod declares.
func (n *Node) Address(pod types.UID, containerPort int) (string, bool) {
	w := n.worker(pod)
	if w == nil {
		return "", false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	port, ok := w.ports[containerPort]
	if !ok {
		return "", false
	}
	return net.JoinHostPort(loopback, strconv.Itoa(port)), true
}

// worker of a pod, nil when this node does not run it.
func (n *Node) worker(pod types.UID) *podWorker {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.workers[pod]
}
