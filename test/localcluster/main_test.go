// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package localcluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/atelier-dev/atelier/test/localcluster/processnode"
)

// cluster is shared by the tests of this package, each of which has a node of its own.
var cluster *Cluster

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		runChild()
		return
	}
	SetDefaultEventuallyTimeout(30 * time.Second)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	var err error
	cluster, err = Start(context.Background(), Options{
		Nodes: []NodeOptions{{Name: "shared", GPUs: 0}},
		Log:   slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// fixture is a node and a namespace of one test.
type fixture struct {
	Gomega
	t      *testing.T
	client kubernetes.Interface
	name   string // of the node, of its label and of the namespace
}

// newFixture starts a node with that many GPUs. Containers restart with little delay.
func newFixture(t *testing.T, gpus int) *fixture {
	t.Helper()
	t.Parallel()
	client, err := kubernetes.NewForConfig(cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Gomega: NewWithT(t), t: t, client: client, name: strings.ToLower(t.Name())}
	f.startNode(gpus)
	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.name}}, metav1.CreateOptions{})
	f.Expect(err).NotTo(HaveOccurred())
	f.Eventually(func() error {
		_, err := client.CoreV1().ServiceAccounts(f.name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	}).Should(Succeed())
	return f
}

func (f *fixture) startNode(gpus int) {
	f.t.Helper()
	err := cluster.StartNode(f.t.Context(), NodeOptions{
		Name: f.name, GPUs: gpus, Labels: map[string]string{"test": f.name},
		Backoff: processnode.Backoff{Base: 2 * time.Second, Max: 4 * time.Second},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = cluster.StopNode(f.name) }) // some tests have stopped it
}

func (f *fixture) stopNode() {
	f.t.Helper()
	f.Expect(cluster.StopNode(f.name)).To(Succeed())
}

// pod is a pod with one container named main that runs a shell script.
func (f *fixture) pod(name, script string) *corev1.Pod {
	grace := int64(2)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: f.name},
		Spec: corev1.PodSpec{
			NodeSelector:                  map[string]string{"test": f.name},
			TerminationGracePeriodSeconds: &grace,
			Containers:                    []corev1.Container{{Name: "main", Image: "shell", Command: []string{"/bin/sh", "-c", script}}},
		},
	}
}

// withGPU makes the pod's first container ask for a GPU.
func withGPU(pod *corev1.Pod) *corev1.Pod {
	pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{processnode.GPUResource: resource.MustParse("1")}
	return pod
}

func (f *fixture) create(pod *corev1.Pod) *corev1.Pod {
	f.t.Helper()
	created, err := f.client.CoreV1().Pods(f.name).Create(f.t.Context(), pod, metav1.CreateOptions{})
	f.Expect(err).NotTo(HaveOccurred())
	return created
}

func (f *fixture) delete(name string, grace int64) {
	f.t.Helper()
	f.Expect(f.client.CoreV1().Pods(f.name).Delete(f.t.Context(), name, *metav1.NewDeleteOptions(grace))).To(Succeed())
}

// get reads a pod for Eventually.
func (f *fixture) get(name string) func(Gomega) *corev1.Pod {
	return func(g Gomega) *corev1.Pod {
		pod, err := f.client.CoreV1().Pods(f.name).Get(f.t.Context(), name, metav1.GetOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		return pod
	}
}

// container reads the status of the pod's first container.
func (f *fixture) container(g Gomega, name string) corev1.ContainerStatus {
	pod := f.get(name)(g)
	g.Expect(pod.Status.ContainerStatuses).NotTo(BeEmpty())
	return pod.Status.ContainerStatuses[0]
}

// exists reports whether there is a pod of that name.
func (f *fixture) exists(name string) func() bool {
	return func() bool {
		_, err := f.client.CoreV1().Pods(f.name).Get(f.t.Context(), name, metav1.GetOptions{})
		return err == nil
	}
}

// ready waits until the pod is Ready.
func (f *fixture) ready(name string) *corev1.Pod {
	f.t.Helper()
	var ready *corev1.Pod
	f.Eventually(func(g Gomega) {
		ready = f.get(name)(g)
		g.Expect(condition(ready, corev1.PodReady)).To(Equal(corev1.ConditionTrue), "%+v", ready.Status)
	}).Should(Succeed())
	return ready
}

// ended waits until the pod is in that phase.
func (f *fixture) ended(name string, phase corev1.PodPhase) *corev1.Pod {
	f.t.Helper()
	var pod *corev1.Pod
	f.Eventually(func(g Gomega) {
		pod = f.get(name)(g)
		g.Expect(pod.Status.Phase).To(Equal(phase), "%+v", pod.Status)
	}).Should(Succeed())
	return pod
}

// logs is what kubectl logs prints.
func (f *fixture) logs(name string, args ...string) string {
	f.t.Helper()
	out, err := cluster.KubectlOutput(f.t.Context(), append([]string{"logs", "-n", f.name, name}, args...)...)
	f.Expect(err).NotTo(HaveOccurred())
	return out
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}
