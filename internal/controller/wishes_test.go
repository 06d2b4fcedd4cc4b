// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

var _ = Describe("A job's user", func() {
	It("suspends it, and its runner is free; resumes it, and it begins again with the same seed", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		job := n.createJob("apple", func(spec *v1alpha1.GenerationJobSpec) { spec.BackoffLimit = ptr.To[int32](0) })
		runner := n.startRunner("default-0")
		runner.report("apple", generating)
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseGenerating, 50))
		seed := n.job("apple")(Default).Status.Seed

		update(n, job, func() { job.Spec.Suspend = new(true) })
		Eventually(runner.assignments).Should(BeEmpty())
		Eventually(n.job("apple")).Should(haveCondition("Suspended", metav1.ConditionFalse, "Releasing", `runner "default-0" has still to confirm`))
		Expect(n.kstatusOf("GenerationJob", "apple")(Default)).To(Equal(kstatus.InProgressStatus))
		runner.letGo("apple")
		Eventually(n.job("apple")).Should(And(
			HaveField("Status.Phase", v1alpha1.PhaseSuspended),
			haveCondition("Suspended", metav1.ConditionTrue, "Suspended", "spec.suspend is true"),
			haveCondition("Scheduled", metav1.ConditionFalse, "Suspended", ""),
			HaveField("Status.Conditions", Not(ContainElement(HaveField("Type", BeElementOf("Ready", "Reconciling", "Stalled"))))),
			HaveField("Status.Stages", ConsistOf(HaveField("Phase", v1alpha1.PhaseSuspended))),
		))
		Expect(n.kstatusOf("GenerationJob", "apple")(Default)).To(Equal(kstatus.CurrentStatus), "it waits for nobody but its user")
		Consistently(runner.assignments).Should(BeEmpty())

		update(n, job, func() { job.Spec.Suspend = nil })
		Eventually(runner.assignments).Should(Equal([]string{"apple/2"}))
		Expect(runner.get(Default).Spec.Assignments[0].Seed).To(Equal(*seed))
		runner.finish("apple")
		Eventually(n.job("apple")).Should(And(
			inPhase(v1alpha1.PhaseSucceeded, 100),
			haveCondition("Suspended", metav1.ConditionFalse, "Resumed", ""),
			HaveField("Status.Failures", int32(0)),
		))
		Eventually(n.events(job)).Should(ConsistOf(
			ContainSubstring("Normal Bound: "), ContainSubstring("Normal Bound: "),
			ContainSubstring("Normal Suspended: "), ContainSubstring("Normal Resumed: "), ContainSubstring("Normal Succeeded: "),
		))
	})

	It("creates it suspended, and it holds no GPU", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		n.createJob("apple", func(spec *v1alpha1.GenerationJobSpec) { spec.Suspend = new(true) })
		Eventually(n.job("apple")).Should(HaveField("Status.Phase", v1alpha1.PhaseSuspended))
		Consistently(n.pods).Should(BeEmpty())
	})

	It("cancels it, and it keeps its status", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		job := n.createJob("apple")
		runner := n.startRunner("default-0")
		runner.report("apple", generating)
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseGenerating, 50))

		update(n, job, func() { job.Spec.Cancel = new(true) })
		Eventually(runner.assignments).Should(BeEmpty())
		Eventually(n.job("apple")).Should(And(
			inPhase(v1alpha1.PhaseGenerating, 50),
			haveCondition("Reconciling", metav1.ConditionTrue, "Releasing", `spec.cancel is true; runner "default-0" has still to confirm`),
		))
		runner.letGo("apple")
		Eventually(n.job("apple")).Should(And(
			inPhase(v1alpha1.PhaseCancelled, 50),
			haveCondition("Cancelled", metav1.ConditionTrue, "Cancelled", "spec.cancel is true"),
			haveCondition("Complete", metav1.ConditionFalse, "Cancelled", ""),
			haveCondition("Failed", metav1.ConditionFalse, "Cancelled", ""),
			haveCondition("Ready", metav1.ConditionFalse, "Cancelled", ""),
			haveCondition("Stalled", metav1.ConditionTrue, "Cancelled", ""),
			HaveField("Status.CompletionTime", Not(BeNil())),
			HaveField("Status.Step", int32(15)),
		))
		Expect(n.kstatusOf("GenerationJob", "apple")(Default)).To(Equal(kstatus.FailedStatus))
		Eventually(n.events(job)).Should(ContainElement("Normal Cancelled: spec.cancel is true"))
	})

	It("cancels it before it has a runner", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		job := n.createJob("apple")
		Eventually(n.job("apple")).Should(HaveField("Status.Phase", v1alpha1.PhasePending))
		update(n, job, func() { job.Spec.Cancel = new(true) })
		Eventually(n.job("apple")).Should(HaveField("Status.Phase", v1alpha1.PhaseCancelled))
	})

	It("may suspend and cancel it after its end, which changes nothing", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		job := n.createJob("apple")
		n.startRunner("default-0").finish("apple")
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
		update(n, job, func() { job.Spec.Suspend, job.Spec.Cancel = new(true), new(true) })
		Eventually(n.kstatusOf("GenerationJob", "apple")).Should(Equal(kstatus.CurrentStatus), "the generation is observed")
		Expect(n.job("apple")(Default)).To(And(inPhase(v1alpha1.PhaseSucceeded, 100), HaveField("Status.ObservedGeneration", int64(2))))
	})

	It("bounds the time in the queue", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createJob("apple", func(spec *v1alpha1.GenerationJobSpec) {
			spec.StageDeadlines = &v1alpha1.StageDeadlines{QueueSeconds: ptr.To[int64](1)}
		})
		Eventually(n.job("apple")).Should(And(
			HaveField("Status.Phase", v1alpha1.PhaseFailed),
			haveCondition("Failed", metav1.ConditionTrue, "QueueDeadlineExceeded", "spec.stageDeadlines.queueSeconds (1)"),
			haveCondition("Scheduled", metav1.ConditionFalse, "ModelNotFound", ""),
		))
		Expect(n.kstatusOf("GenerationJob", "apple")(Default)).To(Equal(kstatus.FailedStatus))
	})

	DescribeTable("bounds a stage on a runner, which has to let go first",
		func(ctx SpecContext, report func(*v1alpha1.AssignmentReport), limit func(*v1alpha1.GenerationJobSpec), reason string) {
			n := inNewNamespace(ctx)
			n.createModel()
			n.createPool()
			n.createJob("apple", limit)
			runner := n.startRunner("default-0")
			runner.report("apple", report)
			Eventually(runner.assignments).Should(BeEmpty())
			Expect(n.job("apple")(Default)).To(And(
				haveCondition("FailureTarget", metav1.ConditionTrue, reason, ""),
				haveCondition("Failed", metav1.ConditionUnknown, "InProgress", ""),
			))
			runner.letGo("apple")
			Eventually(n.job("apple")).Should(haveCondition("Failed", metav1.ConditionTrue, reason, ""))
		},
		Entry("loading", modelLoading, func(spec *v1alpha1.GenerationJobSpec) {
			spec.StageDeadlines = &v1alpha1.StageDeadlines{LoadSeconds: ptr.To[int64](1)}
		}, "LoadDeadlineExceeded"),
		Entry("generating", generating, func(spec *v1alpha1.GenerationJobSpec) {
			spec.StageDeadlines = &v1alpha1.StageDeadlines{GenerateSeconds: ptr.To[int64](1)}
		}, "GenerateDeadlineExceeded"),
		Entry("saving", saving, func(spec *v1alpha1.GenerationJobSpec) {
			spec.StageDeadlines = &v1alpha1.StageDeadlines{SaveSeconds: ptr.To[int64](1)}
		}, "SaveDeadlineExceeded"),
		Entry("all of them", generating, func(spec *v1alpha1.GenerationJobSpec) { spec.ActiveDeadlineSeconds = ptr.To[int64](1) }, "DeadlineExceeded"),
	)

	It("has it deleted some time after its end", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		job := n.createJob("apple", func(spec *v1alpha1.GenerationJobSpec) { spec.TTLSecondsAfterFinished = ptr.To[int32](1) })
		runner := n.startRunner("default-0")
		Consistently(n.job("apple"), "1200ms").Should(Not(BeNil()), "it has not ended")
		runner.finish("apple")
		Eventually(func() bool { return apierrors.IsNotFound(admin.Get(ctx, n.key("apple"), job)) }).Should(BeTrue())
	})

	It("puts it before others by a PriorityClass, for which it waits", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		class := "urgent-" + n.name
		runner := n.startIdleRunner()
		n.createJob("running")
		Eventually(runner.assignments).Should(Equal([]string{"running/1"}))
		n.createJob("early")
		urgent := n.createJob("urgent", func(spec *v1alpha1.GenerationJobSpec) { spec.PriorityClassName = &class })
		Eventually(n.job("urgent")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "PriorityClassNotFound", `there is no PriorityClass "`+class+`"`))
		Eventually(n.events(urgent)).Should(ConsistOf(ContainSubstring("Warning PriorityClassNotFound: ")))

		priority := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Value: 1000}
		Expect(admin.Create(ctx, priority)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(admin.Delete(ctx, priority)).To(Succeed()) })
		Eventually(n.job("urgent")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "WaitingForRunner", ""))
		runner.finish("running")
		Eventually(runner.assignments).Should(Equal([]string{"urgent/1"}))
		runner.finish("urgent")
		Eventually(runner.assignments).Should(Equal([]string{"early/1"}))
	})
})

var _ = Describe("A job whose runner crashed", func() {
	It("says so if that was for want of memory", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool(template(`{"spec": {"containers": [{"name": "runner", "resources": {"limits": {"memory": "2Gi"}}}]}}`))
		n.createJob("apple", func(spec *v1alpha1.GenerationJobSpec) { spec.BackoffLimit = ptr.To[int32](0) })
		runner := n.startRunner("default-0")
		runner.report("apple", generating)
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseGenerating, 50))
		runner.write(func(status *v1alpha1.RunnerStatus) { status.StartTime = new(metav1.NowMicro()) })
		runner.report("apple", failed(v1alpha1.ReasonRunnerCrashed, "the process ended while generating", true))
		Consistently(n.job("apple")).Should(inPhase(v1alpha1.PhaseGenerating, 50), "the kubelet is about to say what it was")
		n.setPodStatus("default-0", func(status *corev1.PodStatus) {
			status.ContainerStatuses = []corev1.ContainerStatus{{
				Name: "runner", RestartCount: 1,
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
					Reason: "OOMKilled", ExitCode: 137, FinishedAt: metav1.Now(),
				}},
			}}
		})
		runner.letGo("apple")
		Eventually(n.job("apple")).Should(haveCondition("Failed", metav1.ConditionTrue, "BackoffLimitExceeded",
			`1 attempt failed (backoffLimit is 0), the last with RunnerOutOfMemory: container "runner" was killed for want of memory (its limit is 2Gi)`))
	})
})
