// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

const (
	// simulated is what the version, the image and the device of a simulated runner are.
	simulated = "simulated"
	// nodePrefix begins the names of simulated nodes.
	nodePrefix = "simulated-"
	// gpusPerNode is what a large machine has ten times of, so that few leases have to
	// be renewed.
	gpusPerNode = 80
	// heartbeat is how often a kubelet renews its lease.
	heartbeat = 10 * time.Second
)

// nodes are simulated: their pods run as soon as they are scheduled, and do nothing. Those
// of pools are runners, those of Jobs end well after as long as a picture takes.
type nodes struct {
	site   *site
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu   sync.Mutex
	pods map[types.UID]context.CancelFunc
}

// startNodes makes as many nodes as the runners need.
func startNodes(ctx context.Context, s *site) (*nodes, error) {
	ctx, cancel := context.WithCancel(ctx)
	n := &nodes{site: s, cancel: cancel, pods: map[types.UID]context.CancelFunc{}}
	var names []string
	for i := range (s.options.runners + gpusPerNode - 1) / gpusPerNode {
		name := fmt.Sprintf("%s%d", nodePrefix, i)
		if err := n.create(ctx, name); err != nil {
			n.stop()
			return nil, err
		}
		names = append(names, name)
	}
	n.work.Go(func() { n.renew(ctx, names) })
	n.work.Go(func() { n.watch(ctx) })
	return n, nil
}

func (n *nodes) stop() {
	n.cancel()
	n.work.Wait()
}

// create makes a node that is ready, and its lease.
func (n *nodes) create(ctx context.Context, name string) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := n.site.kube.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return err
	}
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: name},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &name, RenewTime: new(metav1.NowMicro())},
	}
	if _, err := n.site.kube.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(ctx, lease, metav1.CreateOptions{}); err != nil {
		return err
	}
	capacity := corev1.ResourceList{
		"nvidia.com/gpu":      *resource.NewQuantity(gpusPerNode, resource.DecimalSI),
		corev1.ResourcePods:   resource.MustParse("1000"),
		corev1.ResourceCPU:    resource.MustParse("1000"),
		corev1.ResourceMemory: resource.MustParse("1000Gi"),
	}
	status := fmt.Appendf(nil, `{"status": {"capacity": %[1]s, "allocatable": %[1]s, "conditions": [
		{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": %[2]q, "lastHeartbeatTime": %[2]q}]}}`,
		quantities(capacity), time.Now().UTC().Format(time.RFC3339))
	_, err := n.site.kube.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, status, metav1.PatchOptions{}, "status")
	return err
}

// quantities writes a resource list as JSON.
func quantities(list corev1.ResourceList) string {
	var entries []string
	for name, quantity := range list {
		entries = append(entries, fmt.Sprintf("%q: %q", name, quantity.String()))
	}
	return "{" + strings.Join(entries, ", ") + "}"
}

// renew keeps the leases, as the nodes are lost without.
func (n *nodes) renew(ctx context.Context, names []string) {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		patch := fmt.Appendf(nil, `{"spec": {"renewTime": %q}}`, time.Now().UTC().Format(metav1.RFC3339Micro))
		for _, name := range names {
			// One that fails is made up for by the next.
			_, _ = n.site.kube.CoordinationV1().Leases(corev1.NamespaceNodeLease).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
		}
	}
}

// watch runs the pods that are scheduled to the nodes.
func (n *nodes) watch(ctx context.Context) {
	factory := informers.NewSharedInformerFactoryWithOptions(n.site.kube, 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { n.see(ctx, o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { n.see(ctx, o.(*corev1.Pod)) },
		DeleteFunc: func(o any) {
			if pod, ok := o.(*corev1.Pod); ok {
				n.end(pod.UID)
			}
		},
	})
	if err != nil {
		panic(err) // only a stopped informer refuses, and this one was just made
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	factory.Shutdown()
}

// see starts a pod that is new here, and ends one that is deleted.
func (n *nodes) see(ctx context.Context, pod *corev1.Pod) {
	if !strings.HasPrefix(pod.Spec.NodeName, nodePrefix) {
		return
	}
	if pod.DeletionTimestamp != nil {
		n.end(pod.UID)
		n.work.Go(func() { n.remove(ctx, pod) })
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pods[pod.UID] != nil {
		return
	}
	podCtx, cancel := context.WithCancel(ctx)
	n.pods[pod.UID] = cancel
	n.work.Go(func() { n.run(podCtx, pod) })
}

// end stops what stands for the pod's process.
func (n *nodes) end(uid types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cancel := n.pods[uid]; cancel != nil {
		cancel()
	}
}

func (n *nodes) remove(ctx context.Context, pod *corev1.Pod) {
	err := n.site.kube.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64(0)), Preconditions: &metav1.Preconditions{UID: &pod.UID},
	})
	if err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		n.complain(pod, err)
	}
}

// run is the life of a pod.
func (n *nodes) run(ctx context.Context, pod *corev1.Pod) {
	if err := n.report(ctx, pod, runningStatus); err != nil {
		n.complain(pod, err)
		return
	}
	if pod.Labels[v1alpha1.LabelPool] != "" {
		n.site.runAgent(ctx, pod)
		return
	}
	select {
	case <-time.After(time.Duration(n.site.picture.Load())):
	case <-ctx.Done():
		return
	}
	if err := n.report(ctx, pod, succeededStatus); err != nil {
		n.complain(pod, err)
	}
}

func (n *nodes) complain(pod *corev1.Pod, err error) {
	if !apierrors.IsNotFound(err) {
		fmt.Fprintf(os.Stderr, "simulated pod %s: %v\n", pod.Name, err)
	}
}

// What a kubelet says of a pod with one container.
const (
	runningStatus = `{"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}],
		"containerStatuses": [{"name": %q, "image": "simulated", "imageID": "", "ready": true, "started": true, "restartCount": 0, "state": {"running": {"startedAt": %q}}}]}}`
	succeededStatus = `{"status": {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "False"}],
		"containerStatuses": [{"name": %q, "image": "simulated", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0, "finishedAt": %q}}}]}}`
)

func (n *nodes) report(ctx context.Context, pod *corev1.Pod, status string) error {
	patch := fmt.Appendf(nil, status, pod.Spec.Containers[0].Name, time.Now().UTC().Format(time.RFC3339))
	_, err := n.site.kube.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
