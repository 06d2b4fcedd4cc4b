// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

var _ = Describe("When things go wrong", func() {
	It("a job that names a missing model waits, says so, and goes on when the model appears", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		s.submit(ctx, job("early", withModel("late")))
		Eventually(func() []metav1.Condition { return s.job(ctx, "early").Status.Conditions }).
			Should(haveCondition(v1alpha1.ConditionScheduled, metav1.ConditionFalse, v1alpha1.ReasonModelNotFound))
		waiting := s.job(ctx, "early")
		Expect(messageOf(waiting.Status.Conditions, v1alpha1.ConditionScheduled)).To(ContainSubstring("late"))
		Expect(waiting.Status.Phase).To(Equal(v1alpha1.PhasePending))
		Expect(kstatusOf(waiting)).To(Equal(status.InProgressStatus))
		Expect(s.pods(ctx)).To(BeEmpty(), "no runner is started for a job that can't run")

		s.addModel(ctx, "late")
		s.ended(ctx, "early", v1alpha1.PhaseSucceeded)
	}, SpecTimeout(2*time.Minute))

	It("a job that names a missing pool waits, says so, and goes on when the pool appears", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.submit(ctx, job("early"))
		Eventually(func() []metav1.Condition { return s.job(ctx, "early").Status.Conditions }).
			Should(haveCondition(v1alpha1.ConditionScheduled, metav1.ConditionFalse, v1alpha1.ReasonPoolNotFound))
		s.openPool(ctx, 0)
		s.ended(ctx, "early", v1alpha1.PhaseSucceeded)
	}, SpecTimeout(2*time.Minute))

	It("a corrupt model file fails the job at once with the file's name, and leaves the runner usable", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.addModel(ctx, "broken")
		Expect(os.WriteFile(filepath.Join(s.models, "broken", "unet", "model.onnx"), []byte("not a model"), 0o600)).To(Succeed())
		s.openPool(ctx, 0)
		s.submit(ctx, job("doomed", withModel("broken")))
		failed := s.ended(ctx, "doomed", v1alpha1.PhaseFailed)
		Expect(failed.Status.Conditions).To(And(
			haveCondition(v1alpha1.ConditionFailed, metav1.ConditionTrue, v1alpha1.ReasonModelInvalid),
			haveCondition(v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonModelInvalid),
		))
		Expect(messageOf(failed.Status.Conditions, v1alpha1.ConditionFailed)).To(ContainSubstring("unet/model.onnx"))
		Expect(failed.Status.Attempt).To(BeEquivalentTo(1))
		Expect(kstatusOf(failed)).To(Equal(status.FailedStatus))

		s.submit(ctx, job("next"))
		s.ended(ctx, "next", v1alpha1.PhaseSucceeded)
	}, SpecTimeout(2*time.Minute))

	It("a request that the model can't do fails at once with the field's name", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.addModel(ctx, "short")
		config := filepath.Join(s.models, "short", "scheduler", "scheduler_config.json")
		data, err := os.ReadFile(config)
		Expect(err).NotTo(HaveOccurred())
		trained := strings.Replace(string(data), `"num_train_timesteps": 1000`, `"num_train_timesteps": 10`, 1)
		Expect(trained).NotTo(Equal(string(data)))
		Expect(os.WriteFile(config, []byte(trained), 0o600)).To(Succeed())
		s.openPool(ctx, 0)
		s.submit(ctx, job("too-fine", withModel("short"), withSteps(20)))
		failed := s.ended(ctx, "too-fine", v1alpha1.PhaseFailed)
		Expect(failed.Status.Conditions).To(haveCondition(v1alpha1.ConditionFailed, metav1.ConditionTrue, v1alpha1.ReasonInvalidRequest))
		Expect(messageOf(failed.Status.Conditions, v1alpha1.ConditionFailed)).To(And(
			ContainSubstring("steps"), ContainSubstring("20"), ContainSubstring("from 1 to 10")))
		Expect(failed.Status.Attempt).To(BeEquivalentTo(1))
	}, SpecTimeout(2*time.Minute))

	It("deleting a running job frees its runner within seconds", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		running := s.submit(ctx, job("endless", long))
		s.generating(ctx, "endless")
		begin := time.Now()
		Expect(api.Delete(ctx, running)).To(Succeed())
		Eventually(func(g Gomega) {
			r := s.runner(ctx, "default-0")
			g.Expect(r.Spec.Assignments).To(BeEmpty())
			g.Expect(r.Status.Assignments).To(BeEmpty())
		}, 5*time.Second).Should(Succeed())
		AddReportEntry("free after", time.Since(begin))

		s.submit(ctx, job("next"))
		Expect(s.ended(ctx, "next", v1alpha1.PhaseSucceeded).Status.Runner.Name).To(Equal("default-0"))
	}, SpecTimeout(2*time.Minute))

	It("killing the runner's process mid-job ends in a retried, succeeded job", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		s.submit(ctx, job("survivor", withSteps(1000)))
		s.generating(ctx, "survivor")
		pod := s.firstPod(ctx)
		Expect(cluster.KillContainer(pod, "runner")).To(Succeed())
		done := s.ended(ctx, "survivor", v1alpha1.PhaseSucceeded)
		Expect(done.Status.Attempt).To(BeEquivalentTo(2))
		Expect(done.Status.Failures).To(BeEquivalentTo(1))
		Expect(done.Status.Runner.PodUID).To(Equal(pod.UID), "the kubelet restarted the process in the same pod")
		Expect(s.firstPod(ctx).Status.ContainerStatuses[0].RestartCount).To(BeEquivalentTo(1))

		By("drawing what it would have drawn undisturbed")
		s.submit(ctx, job("undisturbed", withSteps(1000)))
		Expect(s.ended(ctx, "undisturbed", v1alpha1.PhaseSucceeded).Status.Outputs[0].SHA256).To(Equal(done.Status.Outputs[0].SHA256))
	}, SpecTimeout(3*time.Minute))

	It("deleting the runner's pod mid-job runs the job elsewhere, without counting a failure", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		s.submit(ctx, job("moved", withSteps(1000)))
		s.generating(ctx, "moved")
		pod := s.firstPod(ctx)
		Expect(api.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
		done := s.ended(ctx, "moved", v1alpha1.PhaseSucceeded)
		Expect(done.Status.Attempt).To(BeEquivalentTo(2))
		Expect(done.Status.Failures).To(BeZero())
		Expect(done.Status.Runner.PodUID).NotTo(Equal(pod.UID))
	}, SpecTimeout(3*time.Minute))

	It("a manager that is killed goes on where it was", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		s.submit(ctx, job("orphan", withSteps(1000)))
		s.generating(ctx, "orphan")
		Expect(cluster.KillContainer(managerPod(ctx), "manager")).To(Succeed())
		done := s.ended(ctx, "orphan", v1alpha1.PhaseSucceeded)
		Expect(done.Status.Attempt).To(BeEquivalentTo(1))
	}, SpecTimeout(3*time.Minute), Serial)
})
