// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// asPool sends a job to the pool of this namespace, from whichever it is in.
func (n *namespace) asPool(spec *v1alpha1.GenerationJobSpec) {
	spec.PoolRef = &v1alpha1.PoolReference{Name: "default", Namespace: &n.name}
}

func allow(from v1alpha1.FromNamespaces, labels map[string]string) func(*v1alpha1.RunnerPoolSpec) {
	return func(spec *v1alpha1.RunnerPoolSpec) {
		spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: &from}
		if labels != nil {
			spec.AllowedNamespaces.Selector = &metav1.LabelSelector{MatchLabels: labels}
		}
	}
}

var _ = Describe("A pool that other namespaces may use", func() {
	It("runs their jobs with their models, into their own folders", func(ctx SpecContext) {
		owner, guest, other := inNewNamespace(ctx), inNewNamespace(ctx), inNewNamespace(ctx)
		owner.createPool(allow(v1alpha1.NamespacesFromAll, nil), func(spec *v1alpha1.RunnerPoolSpec) { spec.Slots = ptr.To[int32](2) })
		model := guest.createModel()
		other.createModel()
		directory := func(spec *v1alpha1.GenerationJobSpec) { spec.Output = &v1alpha1.OutputSpec{Directory: new("album")} }
		guest.createJob("apple", owner.asPool, directory)
		runner := owner.startRunner("default-0")
		Eventually(runner.assignments).Should(Equal([]string{"apple/1"}))
		other.createJob("apple", owner.asPool, directory)
		Eventually(runner.assignments).Should(Equal([]string{"apple/1", "apple/1"}))

		assigned := runner.get(Default).Spec.Assignments
		Expect(assigned[0]).To(And(
			HaveField("JobNamespace", guest.name),
			HaveField("Model.UID", model.UID),
			HaveField("OutputDirectory", guest.name+"/album"),
		))
		Expect(assigned[1]).To(And(HaveField("JobNamespace", other.name), HaveField("OutputDirectory", other.name+"/album")))
		runner.write(func(status *v1alpha1.RunnerStatus) {
			status.Model = &v1alpha1.LoadedModel{Name: theModel, UID: model.UID, Generation: model.Generation}
			for _, a := range assigned {
				report := v1alpha1.AssignmentReport{UID: a.UID, Attempt: a.Attempt}
				succeeded(&report)
				status.Assignments = append(status.Assignments, report)
			}
		})
		Eventually(guest.model).Should(HaveField("Status.LoadedRunners", int32(1)))
		Expect(other.model(Default)).To(HaveField("Status.LoadedRunners", int32(0)))
		Eventually(runner.assignments).Should(BeEmpty())
		runner.write(func(status *v1alpha1.RunnerStatus) { status.Assignments = nil })
		for _, n := range []*namespace{guest, other} {
			Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
		}

		By("noticing that a job is deleted")
		late := guest.createJob("late", owner.asPool)
		Eventually(runner.assignments).Should(Equal([]string{"late/1"}))
		Expect(admin.Delete(ctx, late)).To(Succeed())
		Eventually(runner.assignments).Should(BeEmpty())
	})

	It("refuses the others, who do not learn whether there is such a pool", func(ctx SpecContext) {
		owner, guest := inNewNamespace(ctx), inNewNamespace(ctx)
		pool := owner.createPool()
		guest.createModel()
		guest.createJob("apple", owner.asPool)
		guest.createJob("pear", owner.asPool, func(spec *v1alpha1.GenerationJobSpec) { spec.PoolRef.Name = "none" })
		Eventually(guest.job("apple")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "NotAllowedByPool",
			`no RunnerPool "default" in namespace "`+owner.name+`" allows jobs from namespace "`+guest.name+`"`))
		Eventually(guest.job("pear")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "NotAllowedByPool",
			`no RunnerPool "none" in namespace "`+owner.name+`" allows jobs from namespace "`+guest.name+`"`))
		Consistently(owner.pods).Should(BeEmpty())

		By("letting in those with a label, as soon as they have it")
		update(owner, pool, func() { allow(v1alpha1.NamespacesFromSelector, map[string]string{"team": guest.name})(&pool.Spec) })
		Consistently(owner.pods).Should(BeEmpty())
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: guest.name}}
		update(guest, namespace, func() { namespace.Labels["team"] = guest.name })
		runner := owner.startRunner("default-0")
		Expect(runner.job()).To(Equal("apple"))

		By("keeping what it began when it lets them in no longer")
		update(guest, namespace, func() { delete(namespace.Labels, "team") })
		guest.createJob("plum", owner.asPool)
		Eventually(guest.job("plum")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "NotAllowedByPool", ""))
		runner.finish("apple")
		Eventually(guest.job("apple")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
		Consistently(runner.assignments).Should(BeEmpty())
	})

	It("tells those it lets in nothing about itself but that it has no runner for them", func(ctx SpecContext) {
		owner, guest := inNewNamespace(ctx), inNewNamespace(ctx)
		owner.createPool(allow(v1alpha1.NamespacesFromAll, nil), template(`{"spec": {"hostNetwork": true}}`))
		guest.createModel()
		guest.createJob("apple", owner.asPool)
		Eventually(owner.pool).Should(haveCondition("Ready", metav1.ConditionFalse, "PodsNotCreated", "hostNetwork"))
		Eventually(guest.job("apple")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "WaitingForRunner",
			`RunnerPool "default" in namespace "`+owner.name+`" has not given it a runner yet`))
		Consistently(guest.job("apple")).ShouldNot(haveCondition("Scheduled", metav1.ConditionFalse, "WaitingForRunner", "hostNetwork"))
	})
})
