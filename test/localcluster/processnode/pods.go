// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"context"
	"errors"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// watchPods follows the pods that are bound to this node until running ends.
func (n *Node) watchPods(ctx, running context.Context) error {
	bound := fields.OneTermEqualSelector("spec.nodeName", n.config.Name).String()
	factory := informers.NewSharedInformerFactoryWithOptions(n.client, 0,
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.FieldSelector = bound }))
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { n.sync(object.(*corev1.Pod)) },
		UpdateFunc: n.replaced,
		DeleteFunc: n.deleted,
	})
	if err != nil {
		return err
	}
	n.group.Go(func() { informer.RunWithContext(running) })
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return errors.New("the pods of this node could not be listed in time")
	}
	return nil
}

// replaced handles an update, which can hide that a pod was deleted and another one of
// the same name created.
func (n *Node) replaced(before, after any) {
	old, pod := before.(*corev1.Pod), after.(*corev1.Pod)
	if old.UID != pod.UID {
		n.forget(old)
	}
	n.sync(pod)
}

func (n *Node) deleted(object any) {
	if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	if pod, ok := object.(*corev1.Pod); ok {
		n.forget(pod)
	}
}

// sync brings this node in line with a pod's object.
func (n *Node) sync(pod *corev1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return
	}
	worker, ok := n.workers[pod.UID]
	if !ok {
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			n.endedEarlier(pod)
			return
		}
		worker = newPodWorker(n, pod)
		n.workers[pod.UID] = worker
		go worker.run()
	}
	if pod.DeletionTimestamp != nil {
		worker.delete(deletionGrace(pod))
	}
}

// endedEarlier removes the object of a pod that had ended before the node was restarted.
func (n *Node) endedEarlier(pod *corev1.Pod) {
	if pod.DeletionTimestamp == nil {
		return
	}
	n.group.Go(func() {
		options := metav1.NewDeleteOptions(0)
		options.Preconditions = metav1.NewUIDPreconditions(string(pod.UID))
		err := n.client.CoreV1().Pods(pod.Namespace).Delete(context.Background(), pod.Name, *options)
		if err != nil && !apierrors.IsNotFound(err) {
			n.config.Log.Warn("pod not removed", "pod", pod.Name, "error", err)
		}
	})
}

// forget ends a pod whose object is gone, and removes its files.
func (n *Node) forget(pod *corev1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	worker, ok := n.workers[pod.UID]
	if !ok || n.stopped {
		return
	}
	worker.abandon()
	n.group.Go(func() {
		<-worker.done
		n.mu.Lock()
		delete(n.workers, pod.UID)
		n.mu.Unlock()
		if err := os.RemoveAll(worker.dir); err != nil {
			n.config.Log.Warn("files of a pod not removed", "pod", pod.Name, "error", err)
		}
	})
}

func deletionGrace(pod *corev1.Pod) time.Duration {
	if pod.DeletionGracePeriodSeconds == nil {
		return 0
	}
	return time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
}
