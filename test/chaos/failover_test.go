// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"regexp"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/test/localcluster/processnode"
)

const (
	systemNamespace = "atelier-system"
	leaseName       = "atelier-manager"
)

// The longest that nobody may lead: after the leader was killed, after it was asked to end,
// in which case it gives the lease back, and after the process of a manager without a standby
// was killed, which is started again and takes its own lease.
const (
	failoverBound = 20 * time.Second
	handoverBound = 8 * time.Second
	restartBound  = 8 * time.Second
)

func TestAStandbyTakesOver(t *testing.T) {
	s := newSite(t, 5*time.Minute, "config/ha", processnode.DefaultBackoff)
	s.open("flight", 2)
	book := newLedger()
	stop := s.keep(book)
	s.Expect(s.managersOnNodes()).To(ConsistOf("node-1", "node-2"))

	for _, way := range []struct {
		name    string
		prepare func()
		end     func(*corev1.Pod) error
		bound   time.Duration
	}{
		{"killed", s.wearOut, func(leader *corev1.Pod) error { return s.cluster.KillContainer(leader, "manager") }, failoverBound},
		{"asked", func() {}, func(leader *corev1.Pod) error { return s.api.Delete(s.ctx, leader) }, handoverBound},
	} {
		way.prepare()
		s.inFlight(book, way.name)
		leader := s.leader()
		began := time.Now()
		s.Expect(way.end(leader)).To(Succeed())
		took := s.nextLeader(began)
		t.Logf("leader %s: the standby led %.1f s later", way.name, took.Seconds())
		s.Expect(s.leader().UID).NotTo(Equal(leader.UID))
		s.Expect(took).To(BeNumerically("<", way.bound))
		s.undisturbed(book, way.name)
	}
	stop()
	s.Expect(book.broken()).To(BeEmpty())
}

func TestALoneManagerTakesItsOwnLease(t *testing.T) {
	s := newSite(t, 3*time.Minute, "config/default", processnode.DefaultBackoff)
	s.open("flight", 1)
	leader, before := s.leader(), s.lease()
	killed, err := s.cluster.PID(leader, "manager")
	s.Expect(err).NotTo(HaveOccurred())
	began := time.Now()
	s.Expect(s.cluster.KillContainer(leader, "manager")).To(Succeed())
	s.Eventually(func() (int, error) { return s.cluster.PID(leader, "manager") }).ShouldNot(Equal(killed))
	s.Eventually(func() (string, error) { // of the new process
		return s.cluster.KubectlOutput(s.ctx, "logs", "-n", systemNamespace, leader.Name)
	}).WithTimeout(time.Minute).Should(MatchRegexp(acquired.String()))
	t.Logf("lone manager killed: it led again %.1f s later", time.Since(began).Seconds())
	s.Expect(time.Since(began)).To(BeNumerically("<", restartBound))
	after := s.lease()
	s.Expect(after.Spec.HolderIdentity).To(Equal(before.Spec.HolderIdentity))
	s.Expect(after.Spec.HolderIdentity).To(HaveValue(Equal(leader.Name + "_" + string(leader.UID))))
	s.Expect(after.Spec.LeaseDurationSeconds).To(HaveValue(BeEquivalentTo(12)))

	job := numberedJob("flight", 1)
	s.Expect(s.api.Create(s.ctx, job)).To(Succeed())
	s.Eventually(func() (v1alpha1.Phase, error) {
		return job.Status.Phase, s.api.Get(s.ctx, client.ObjectKeyFromObject(job), job)
	}).Should(Equal(v1alpha1.PhaseSucceeded))
}

// lease is the managers'.
func (s *site) lease() *coordinationv1.Lease {
	s.t.Helper()
	var lease coordinationv1.Lease
	s.Expect(s.api.Get(s.ctx, client.ObjectKey{Namespace: systemNamespace, Name: leaseName}, &lease)).To(Succeed())
	return &lease
}

// wearOut kills the leader twice, which a kubelet starts again at once after the first time and
// after 10 seconds after the second. After the next it is 20, which is more than a standby
// needs: else the manager would take its own lease again. Should the standby have been quicker
// already, it is the leader to wear out.
func (s *site) wearOut() {
	s.t.Helper()
	worn := map[types.UID]bool{}
	for leader := s.leader(); !worn[leader.UID]; leader = s.leader() {
		for range 2 {
			killed, err := s.cluster.PID(leader, "manager")
			s.Expect(err).NotTo(HaveOccurred())
			s.Expect(s.cluster.KillContainer(leader, "manager")).To(Succeed())
			s.Eventually(func() (int, error) { return s.cluster.PID(leader, "manager") }).ShouldNot(Equal(killed))
		}
		worn[leader.UID] = true
	}
}

// managers are the pods that lead or stand by.
func (s *site) managers() []corev1.Pod {
	s.t.Helper()
	var pods corev1.PodList
	s.Expect(s.api.List(s.ctx, &pods, client.InNamespace(systemNamespace), client.MatchingLabels{"app.kubernetes.io/component": "manager"})).To(Succeed())
	return pods.Items
}

// managersOnNodes are the nodes of the managers.
func (s *site) managersOnNodes() []string {
	s.t.Helper()
	var nodes []string
	for _, pod := range s.managers() {
		nodes = append(nodes, pod.Spec.NodeName)
	}
	return nodes
}

// acquired is what a manager logs when it begins to lead.
var acquired = regexp.MustCompile(`(?i)successfully acquired lease`)

// leader is the pod that leads, as its log says: the lease names its holder for a while after
// that has ended.
func (s *site) leader() *corev1.Pod {
	s.t.Helper()
	var leaders []corev1.Pod
	s.Eventually(func(g Gomega) {
		leaders = nil
		for _, pod := range s.managers() {
			log, err := s.cluster.KubectlOutput(s.ctx, "logs", "-n", systemNamespace, pod.Name)
			g.Expect(err).NotTo(HaveOccurred())
			if acquired.MatchString(log) {
				leaders = append(leaders, pod)
			}
		}
		g.Expect(leaders).To(HaveLen(1))
	}).Should(Succeed())
	return &leaders[0]
}

// nextLeader waits until the lease has a holder that it had not, and returns how long after
// began that holder took it.
func (s *site) nextLeader(began time.Time) time.Duration {
	s.t.Helper()
	var lease coordinationv1.Lease
	s.Eventually(func(g Gomega) {
		g.Expect(s.api.Get(s.ctx, client.ObjectKey{Namespace: systemNamespace, Name: leaseName}, &lease)).To(Succeed())
		g.Expect(lease.Spec.HolderIdentity).NotTo(HaveValue(BeEmpty()))
		g.Expect(lease.Spec.AcquireTime.Time).To(BeTemporally(">", began))
	}).Should(Succeed())
	return lease.Spec.AcquireTime.Sub(began)
}

// inFlight starts two jobs that take longer than a failover, and waits until both are drawn.
func (s *site) inFlight(book *ledger, name string) {
	s.t.Helper()
	for i := range 2 {
		job := numberedJob("flight", i)
		job.Name = name + "-" + string(rune('a'+i))
		job.Spec.Steps, job.Spec.Images = new(int32(1000)), new(int32(16))
		s.Expect(s.api.Create(s.ctx, job)).To(Succeed())
		s.Eventually(func() v1alpha1.Phase { return book.accounts("flight")[job.Name].latest.Status.Phase }).Should(Equal(v1alpha1.PhaseGenerating))
	}
}

// undisturbed waits until the jobs in flight have ended, and wants each to be done at the
// first attempt, by a runner that never stopped.
func (s *site) undisturbed(book *ledger, name string) {
	s.t.Helper()
	s.Expect(book.unfinished("flight")).To(BeNumerically(">", 0), "the jobs were done before the next leader was there")
	s.Eventually(func() int { return book.unfinished("flight") }).WithTimeout(3 * time.Minute).Should(BeZero())
	for _, job := range []string{name + "-a", name + "-b"} {
		status := book.accounts("flight")[job].latest.Status
		s.Expect(status.Phase).To(Equal(v1alpha1.PhaseSucceeded))
		s.Expect(status.Attempt).To(BeEquivalentTo(1))
		s.Expect(status.Failures).To(BeZero())
	}
}
