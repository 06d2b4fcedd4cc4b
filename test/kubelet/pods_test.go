// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

var errStillThere = errors.New("the pod is still there")

// longSteps are more than a second's worth on any machine, and less than a minute's.
const longSteps = 400

// TestPodOfTheManagerIsRestricted looks at the process that runs, not at what the pod asks for.
func TestPodOfTheManagerIsRestricted(t *testing.T) {
	s := &studio{Gomega: NewWithT(t), t: t, ctx: t.Context()}
	var pods corev1.PodList
	s.Expect(api.List(s.ctx, &pods, client.InNamespace("atelier-system"))).To(Succeed())
	s.Expect(pods.Items).To(HaveLen(1))
	s.expectRestricted(&pods.Items[0])
}

// expectRestricted wants of a pod's process what the restricted standard is for, and a root
// that can't be written to.
func (s *studio) expectRestricted(pod *corev1.Pod) {
	s.t.Helper()
	pid := s.process(pod)
	status, err := statusOf(pid)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(status).To(And(
		HaveKeyWithValue("Uid", "65532\t65532\t65532\t65532"),
		HaveKeyWithValue("CapEff", "0000000000000000"),
		HaveKeyWithValue("CapPrm", "0000000000000000"),
		HaveKeyWithValue("CapBnd", "0000000000000000"),
		HaveKeyWithValue("NoNewPrivs", "1"),
		HaveKeyWithValue("Seccomp", "2"),
	))
	mounts, err := mountsOf(pid)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(mounts).To(HaveKeyWithValue("/", ContainElement("ro")))
}

func TestPodOfARunnerIsRestrictedAndDraws(t *testing.T) {
	s := open(t, "1Gi")
	begin := time.Now()
	s.submit("red-apple", 20)
	job := s.awaitPhase("red-apple", v1alpha1.PhaseSucceeded)
	t.Logf("first job, from nothing to a picture: %.1f s", time.Since(begin).Seconds())

	pod := s.pod()
	s.expectRestricted(pod)
	mounts, err := mountsOf(s.process(pod))
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(mounts).To(And(
		HaveKeyWithValue("/models", ContainElement("ro")),
		HaveKeyWithValue("/outputs", ContainElement("rw")),
		HaveKeyWithValue("/tmp", ContainElement("rw")),
		HaveKeyWithValue("/var/run/secrets/kubernetes.io/serviceaccount", ContainElement("ro")),
	))
	s.Expect(pod.Status.Conditions).To(ContainElement(And(HaveField("Type", corev1.PodReady), HaveField("Status", corev1.ConditionTrue))))
	logs, err := cluster.KubectlOutput(s.ctx, "logs", "-n", s.namespace, pod.Name)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(logs).To(ContainSubstring(string(job.UID)))
	s.expectPicture(job)
}

// expectPicture wants the file that the status describes.
func (s *studio) expectPicture(job *v1alpha1.GenerationJob) {
	s.t.Helper()
	s.Expect(job.Status.Outputs).To(HaveLen(1))
	output := job.Status.Outputs[0]
	content, err := os.ReadFile(filepath.Join(s.outputs, output.Path))
	s.Expect(err).NotTo(HaveOccurred())
	sum := sha256.Sum256(content)
	s.Expect(output.SHA256).To(Equal(hex.EncodeToString(sum[:])))
	s.Expect(bytes.HasPrefix(content, []byte("\x89PNG"))).To(BeTrue())
}

func TestPodWhoseProcessIsKilled(t *testing.T) {
	s := open(t, "1Gi")
	s.submit("long", longSteps)
	s.awaitDrawing("long")
	pod := s.pod()
	begin := time.Now()
	s.Expect(syscall.Kill(s.process(pod), syscall.SIGKILL)).To(Succeed())
	job := s.awaitPhase("long", v1alpha1.PhaseSucceeded)
	t.Logf("killed runner to Succeeded: %.1f s, of which %v draw", time.Since(begin).Seconds(), longSteps)
	s.Expect(job.Status.Attempt).To(BeEquivalentTo(2))
	s.expectPicture(job)
	after := s.pod()
	s.Expect(after.UID).To(Equal(pod.UID), "the kubelet starts the container again")
	s.Expect(after.Status.ContainerStatuses[0].RestartCount).To(BeEquivalentTo(1))
}

// TestPodOutOfMemory has the kernel kill the runner while it loads.
func TestPodOutOfMemory(t *testing.T) {
	s := open(t, "40Mi")
	s.submit("too-large", 20)
	job := s.awaitPhase("too-large", v1alpha1.PhaseFailed)
	failed := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionFailed)
	t.Logf("%s: %s", failed.Reason, failed.Message)
	s.Expect(failed.Message).To(And(ContainSubstring(v1alpha1.ReasonRunnerOutOfMemory), ContainSubstring("40Mi")))
}

func TestPodEvicted(t *testing.T) {
	s := open(t, "1Gi")
	s.submit("evicted", longSteps)
	s.awaitDrawing("evicted")
	pod := s.pod()
	kube, err := kubernetes.NewForConfig(cluster.Config())
	s.Expect(err).NotTo(HaveOccurred())
	begin := time.Now()
	s.Expect(kube.CoreV1().Pods(s.namespace).EvictV1(s.ctx, &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: pod.Name},
	})).To(Succeed())
	s.Eventually(func() error { return s.gone(pod) }).Should(Succeed())
	t.Logf("evicted pod gone after %.1f s of a grace period of %d s", time.Since(begin).Seconds(), *pod.Spec.TerminationGracePeriodSeconds)
	s.Expect(time.Since(begin)).To(BeNumerically("<", time.Duration(*pod.Spec.TerminationGracePeriodSeconds)*time.Second),
		"the runner stops at the next step, and does not wait to be killed")
	job := s.awaitPhase("evicted", v1alpha1.PhaseSucceeded)
	s.Expect(job.Status.Failures).To(BeZero(), "an eviction is nobody's failure")
	s.expectPicture(job)
}

// TestPodEvictedByTheKubelet has a pod take more of the node's disk than it may. Unlike an eviction
// by the API that asks nobody, and the pod stays, as Failed, until somebody deletes it. The kubelet
// looks every ten seconds.
func TestPodEvictedByTheKubelet(t *testing.T) {
	s := open(t, "1Gi")
	s.submit("evicted", 2*longSteps)
	s.awaitDrawing("evicted")
	pod := s.pod()
	cache := filepath.Join("/var/lib/kubelet/pods", string(pod.UID), "volumes/kubernetes.io~empty-dir/cache")
	begin := time.Now()
	s.Expect(os.WriteFile(filepath.Join(cache, "filler"), make([]byte, storageLimit+1), 0o600)).To(Succeed())
	s.Eventually(func() error { return s.gone(pod) }).Should(Succeed())
	t.Logf("pod gone %.1f s after it had too much on the disk", time.Since(begin).Seconds())
	job := s.awaitPhase("evicted", v1alpha1.PhaseSucceeded)
	s.Expect(job.Status.Attempt).To(BeEquivalentTo(2))
	s.Expect(job.Status.Failures).To(BeZero(), "an eviction is nobody's failure")
	s.expectPicture(job)
}

// gone is an error until there is no such pod any more.
func (s *studio) gone(pod *corev1.Pod) error {
	var now corev1.Pod
	err := api.Get(s.ctx, client.ObjectKeyFromObject(pod), &now)
	if err == nil && now.UID == pod.UID {
		return errStillThere
	}
	return client.IgnoreNotFound(err)
}

// TestPodsOfANodeThatLosesItsPower ends kubelet, containerd and every container at once, as a power cut
// does, and starts the node again.
func TestPodsOfANodeThatLosesItsPower(t *testing.T) {
	s := open(t, "1Gi")
	s.submit("long", longSteps)
	s.awaitDrawing("long")
	machine.powerOff()
	s.Eventually(containerProcesses).Should(BeEmpty())
	begin := time.Now()
	s.Expect(machine.start(s.ctx)).To(Succeed())
	t.Logf("node ready again after %.1f s", time.Since(begin).Seconds())
	job := s.awaitPhase("long", v1alpha1.PhaseSucceeded)
	t.Logf("job Succeeded %.1f s after the node began to start", time.Since(begin).Seconds())
	s.expectPicture(job)
}
