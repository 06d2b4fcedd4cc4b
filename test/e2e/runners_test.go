// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

var _ = Describe("A runner", func() {
	It("is ready, idle and healthy when fresh, with nothing loaded, well within a second", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 1)
		runner := s.readyRunner(ctx, "default-0")
		Expect(runner.Status.Conditions).To(haveCondition(v1alpha1.ConditionPipelineHealthy, metav1.ConditionTrue, v1alpha1.ReasonIdle))
		Expect(runner.Status.Model).To(BeNil())
		Expect(runner.Status.Device).To(BeNil(), "a fresh runner touches no device")
		Expect(runner.Status.Assignments).To(BeEmpty())
		startToReady := runner.Status.ReadyTime.Sub(runner.Status.StartTime.Time)
		AddReportEntry("start to ready", startToReady.String())
		Expect(startToReady).To(BeNumerically(">", 0))
		Expect(startToReady).To(BeNumerically("<", 2*time.Second), "on a machine that does other work too")
	}, SpecTimeout(time.Minute))

	It("says what it loaded and what it computes on", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		s.submit(ctx, job("one"))
		s.ended(ctx, "one", v1alpha1.PhaseSucceeded)
		var model v1alpha1.Model
		Expect(api.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "tiny"}, &model)).To(Succeed())
		Eventually(func(g Gomega) {
			runner := s.runner(ctx, "default-0")
			g.Expect(runner.Status.Model).NotTo(BeNil())
			g.Expect(runner.Status.Model.Name).To(Equal("tiny"))
			g.Expect(runner.Status.Model.UID).To(Equal(model.UID))
			g.Expect(runner.Status.Device).NotTo(BeNil())
			g.Expect(runner.Status.Device.Type).To(BeElementOf(v1alpha1.DeviceCPU, v1alpha1.DeviceCUDA))
			g.Expect(runner.Status.Conditions).To(haveCondition(v1alpha1.ConditionPipelineHealthy, metav1.ConditionTrue, v1alpha1.ReasonLoaded))
			g.Expect(runner.Status.Assignments).To(BeEmpty())
		}).Should(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(api.Get(ctx, client.ObjectKeyFromObject(&model), &model)).To(Succeed())
			g.Expect(model.Status.LoadedRunners).To(BeEquivalentTo(1))
			g.Expect(model.Status.Conditions).To(haveCondition(v1alpha1.ConditionLoadable, metav1.ConditionTrue, v1alpha1.ReasonLoaded))
		}).Should(Succeed())
	}, SpecTimeout(2*time.Minute))
})

var _ = Describe("A pool", func() {
	It("grows from nothing when jobs come and goes back to nothing when idle", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPoolOf(ctx, 0, 2, "2s")
		Consistently(s.pods, 500*time.Millisecond).WithContext(ctx).Should(BeEmpty())
		for i := range 3 {
			s.submit(ctx, job(fmt.Sprintf("job-%d", i), withSteps(300)))
		}
		Eventually(s.pods).WithContext(ctx).Should(ConsistOf("default-0", "default-1"))
		for i := range 3 {
			s.ended(ctx, fmt.Sprintf("job-%d", i), v1alpha1.PhaseSucceeded)
		}
		Eventually(s.pods).WithContext(ctx).Should(BeEmpty())
		Eventually(func(g Gomega) {
			var runners v1alpha1.RunnerList
			g.Expect(api.List(ctx, &runners, client.InNamespace(s.namespace))).To(Succeed())
			g.Expect(runners.Items).To(BeEmpty())
		}).Should(Succeed())
	}, SpecTimeout(2*time.Minute))
})
