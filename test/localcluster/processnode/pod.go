// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// setupRetry is the wait after something a pod needs could not be had, such as a
// ConfigMap that is not there yet.
const setupRetry = time.Second

// podWorker runs one pod from when it was bound to this node until its processes and its
// object are gone.
type podWorker struct {
	node     *Node
	pod      *corev1.Pod // its spec is what was bound; its status is stale
	dir      string
	start    metav1.Time
	shutdown *shutdown
	// ctx bounds all that the worker asks of the API server. It ends when the pod's
	// object is gone or the node stops.
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	// What the pod was given: set once, before any container starts.
	gpus    []int
	ports   map[int]int       // containerPort to host port
	volumes map[string]string // volume name to host path

	changed chan struct{}
	writing sync.Mutex  // held while the status is written
	written *corev1.Pod // as the API server answered the last write

	mu              sync.Mutex // guards what is below
	statuses        map[string]*corev1.ContainerStatus
	processes       map[string]*running
	over            bool
	reason, message string
}

func newPodWorker(node *Node, pod *corev1.Pod) *podWorker {
	ctx, cancel := context.WithCancel(context.Background())
	now := now()
	w := &podWorker{
		node: node, pod: pod, dir: filepath.Join(node.config.Dir, "pods", string(pod.UID)), start: now,
		shutdown: newShutdown(), ctx: ctx, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{}, 1), written: pod,
		statuses: map[string]*corev1.ContainerStatus{}, processes: map[string]*running{},
	}
	if pod.Status.StartTime != nil {
		w.start = *pod.Status.StartTime
	}
	previous := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		status := initialStatus(&container, previous, now)
		w.statuses[container.Name] = &status
	}
	return w
}

// run is the life of the pod.
func (w *podWorker) run() {
	defer close(w.done)
	go w.publish()
	w.changes()
	if w.admit() {
		if w.setUp() && w.runInitContainers() {
			w.runContainers()
		}
		w.release()
	}
	w.finish()
	<-w.shutdown.begun
	w.removeObject()
	w.cancel()
}

// admit takes the GPUs the pod asks for. The scheduler counts them, so that there are
// enough unless a pod was bound past it; such a pod fails, as a kubelet makes it.
func (w *podWorker) admit() bool {
	gpus, err := w.node.gpus.take(w.pod)
	if err != nil {
		w.mu.Lock()
		w.reason, w.message = "UnexpectedAdmissionError", err.Error()
		w.mu.Unlock()
		w.event(corev1.EventTypeWarning, "UnexpectedAdmissionError", err.Error())
		return false
	}
	w.gpus = gpus
	return true
}

// release gives back what others can use, once no process of the pod is left.
func (w *podWorker) release() {
	w.node.gpus.give(w.gpus)
	for _, port := range w.ports {
		w.node.ports.Give(port)
	}
}

// setUp makes volumes and ports. It tries until they are there or the pod is to end.
func (w *podWorker) setUp() bool {
	for {
		err := w.prepare()
		if err == nil {
			return true
		}
		if w.ctx.Err() != nil {
			return false
		}
		w.event(corev1.EventTypeWarning, "FailedMount", err.Error())
		if !w.shutdown.sleep(setupRetry) {
			return false
		}
	}
}

func (w *podWorker) prepare() error {
	if err := os.MkdirAll(filepath.Join(w.dir, "tmp"), 0o755); err != nil {
		return err
	}
	if w.ports == nil {
		if err := w.takePorts(); err != nil {
			return err
		}
	}
	volumes := &volumes{client: w.node.client, pod: w.pod, dir: filepath.Join(w.dir, "volumes")}
	paths, err := volumes.prepare(w.ctx)
	if err != nil {
		return err
	}
	w.volumes = paths
	for _, token := range volumes.tokens {
		go token.keepFresh(w.ctx)
	}
	return nil
}

// takePorts finds a port of the host for each port that a container declares, since all
// pods share one address.
func (w *podWorker) takePorts() error {
	taken := map[int]int{}
	for _, container := range slices.Concat(w.pod.Spec.InitContainers, w.pod.Spec.Containers) {
		for _, declared := range container.Ports {
			port, err := w.node.ports.Take()
			if err != nil {
				return err
			}
			taken[int(declared.ContainerPort)] = port
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports = taken
	return nil
}

// hostPort is the port of the host for a container's port or its name. A port that is
// not declared is the host's own.
func (w *podWorker) hostPort(container *corev1.Container, port intstr.IntOrString) (int, error) {
	number := port.IntValue()
	if port.Type == intstr.String {
		i := slices.IndexFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == port.StrVal })
		if i < 0 {
			return 0, fmt.Errorf("container %s has no port named %q", container.Name, port.StrVal)
		}
		number = int(container.Ports[i].ContainerPort)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if host, ok := w.ports[number]; ok {
		return host, nil
	}
	return number, nil
}

// runInitContainers runs them one after the other. It reports whether all succeeded.
func (w *podWorker) runInitContainers() bool {
	policy := w.pod.Spec.RestartPolicy
	if policy == corev1.RestartPolicyAlways {
		policy = corev1.RestartPolicyOnFailure // one that succeeded is done
	}
	for i := range w.pod.Spec.InitContainers {
		container := &w.pod.Spec.InitContainers[i]
		w.runContainer(container, policy)
		if !succeeded(w.status(container.Name)) {
			return false
		}
	}
	return true
}

// runContainers runs the containers side by side until none will run any more.
func (w *podWorker) runContainers() {
	var group sync.WaitGroup
	for i := range w.pod.Spec.Containers {
		group.Go(func() { w.runContainer(&w.pod.Spec.Containers[i], w.pod.Spec.RestartPolicy) })
	}
	group.Wait()
}

// delete begins the end of the pod, with the grace period of its deletion.
func (w *podWorker) delete(grace time.Duration) { w.shutdown.begin(grace) }

// abandon ends the pod at once and says nothing to the API server, for a pod whose
// object is gone and for a node that goes down.
func (w *podWorker) abandon() {
	w.cancel()
	w.shutdown.begin(0)
}

// finish records that nothing of the pod runs any more.
func (w *podWorker) finish() {
	w.mu.Lock()
	w.over = true
	for _, status := range w.statuses {
		endWaiting(status)
	}
	w.mu.Unlock()
	w.changes()
}

// endWaiting gives a container that waited for its next start the state of its last end.
func endWaiting(status *corev1.ContainerStatus) {
	if status.State.Waiting != nil && status.LastTerminationState.Terminated != nil {
		status.State = status.LastTerminationState
	}
	status.Ready, status.Started = false, new(bool)
}

// status is a copy of a container's status.
func (w *podWorker) status(container string) corev1.ContainerStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *w.statuses[container].DeepCopy()
}

// update changes a container's status and has it published.
func (w *podWorker) update(container string, change func(*corev1.ContainerStatus)) {
	w.mu.Lock()
	change(w.statuses[container])
	w.mu.Unlock()
	w.changes()
}

func (w *podWorker) event(kind, reason, message string) {
	if w.ctx.Err() == nil {
		w.node.recorder.Event(w.pod, kind, reason, message)
	}
}
