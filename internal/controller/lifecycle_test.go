// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

var _ = Describe("A job", func() {
	It("goes from Pending to Succeeded, and its runner is free before it is Complete", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		job := n.createJob("apple")

		By("waiting, with a seed and every condition")
		Eventually(n.job("apple")).Should(And(
			inPhase(v1alpha1.PhasePending, 0),
			haveCondition("Scheduled", metav1.ConditionFalse, "WaitingForRunner", `RunnerPool "default" has no free runner yet`),
			haveCondition("ModelLoaded", metav1.ConditionUnknown, "NotLoaded", ""),
			haveCondition("PipelineHealthy", metav1.ConditionUnknown, "NotChecked", ""),
			haveCondition("Complete", metav1.ConditionUnknown, "InProgress", ""),
			haveCondition("Failed", metav1.ConditionUnknown, "InProgress", ""),
			haveCondition("Ready", metav1.ConditionFalse, "WaitingForRunner", ""),
			HaveField("Status.Seed", HaveValue(And(BeNumerically(">=", 0), BeNumerically("<", 1<<32)))),
		))
		seed := n.job("apple")(Default).Status.Seed
		Expect(n.kstatusOf("GenerationJob", "apple")(Default)).To(Equal(kstatus.InProgressStatus))

		By("being given to the runner with everything resolved")
		runner := n.startRunner("default-0")
		Eventually(runner.assignments).Should(Equal([]string{"apple/1"}))
		Expect(runner.get(Default).Spec.Assignments[0]).To(And(
			HaveField("UID", job.UID),
			HaveField("Seed", *seed),
			HaveField("Steps", v1alpha1.DefaultSteps),
			HaveField("GuidanceScale", v1alpha1.DefaultGuidanceScale),
			HaveField("Images", v1alpha1.DefaultImages),
			HaveField("Model.Source.Path", "emoji"),
			HaveField("OutputDirectory", n.name+"/apple-"+string(job.UID[:8])),
		))
		Eventually(n.job("apple")).Should(And(
			haveCondition("Scheduled", metav1.ConditionTrue, "Bound", `"default-0"`),
			HaveField("Status.Runner", HaveValue(HaveField("Name", "default-0"))),
			HaveField("Status.Attempt", int32(1)),
			HaveField("Status.StartTime", Not(BeNil())),
		))

		By("mirroring what the runner reports")
		runner.report("apple", initializing)
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseInitializing, 1))
		runner.report("apple", modelLoading)
		Eventually(n.job("apple")).Should(And(
			inPhase(v1alpha1.PhaseModelLoading, 5),
			haveCondition("ModelLoaded", metav1.ConditionFalse, "Loading", ""),
			haveCondition("PipelineHealthy", metav1.ConditionTrue, "Idle", "nothing is loaded"),
		))
		runner.report("apple", generating)
		Eventually(n.job("apple")).Should(And(
			inPhase(v1alpha1.PhaseGenerating, 50),
			haveCondition("ModelLoaded", metav1.ConditionTrue, "Loaded", ""),
			HaveField("Status.Step", int32(15)),
			HaveField("Status.Steps", int32(30)),
		))
		Expect(n.kstatusOf("GenerationJob", "apple")(Default)).To(Equal(kstatus.InProgressStatus))
		runner.report("apple", saving)
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseSaving, 95))

		By("recording the outputs before the assignment is taken away")
		runner.report("apple", succeeded)
		Eventually(runner.assignments).Should(BeEmpty())
		Consistently(n.job("apple")).Should(And(
			inPhase(v1alpha1.PhaseSaving, 95),
			haveCondition("SuccessCriteriaMet", metav1.ConditionTrue, "Succeeded", "1 picture written"),
			haveCondition("Complete", metav1.ConditionUnknown, "InProgress", ""),
			HaveField("Status.Outputs", HaveLen(1)),
		))
		Expect(n.kstatusOf("GenerationJob", "apple")(Default)).To(Equal(kstatus.InProgressStatus))

		By("being Complete once the runner has let go")
		runner.letGo("apple")
		Eventually(n.job("apple")).Should(And(
			inPhase(v1alpha1.PhaseSucceeded, 100),
			haveCondition("Complete", metav1.ConditionTrue, "Succeeded", ""),
			haveCondition("Failed", metav1.ConditionFalse, "Succeeded", ""),
			haveCondition("Ready", metav1.ConditionTrue, "Succeeded", ""),
			HaveField("Status.CompletionTime", Not(BeNil())),
			HaveField("Status.Seed", Equal(seed)),
			HaveField("Status.Conditions", HaveEach(HaveField("ObservedGeneration", int64(1)))),
		))
		Expect(n.kstatusOf("GenerationJob", "apple")(Default)).To(Equal(kstatus.CurrentStatus))
		Eventually(n.events(job)).Should(ConsistOf(
			ContainSubstring("Normal Bound"),
			ContainSubstring("Normal Succeeded: 1 picture written"),
		))
	})

	It("takes its parameters from the job, then the model", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		model := n.createModel()
		update(n, model, func() {
			model.Spec.Defaults = &v1alpha1.ModelDefaults{Steps: ptr.To[int32](12), GuidanceScale: new(3.5), Width: ptr.To[int32](64)}
		})
		n.createPool()
		n.createJob("apple", func(spec *v1alpha1.GenerationJobSpec) {
			spec.Steps, spec.Seed = ptr.To[int32](7), ptr.To[int64](42)
			spec.Output = &v1alpha1.OutputSpec{Directory: new("album/apples")}
		})
		runner := n.startRunner("default-0")
		Eventually(runner.assignments).Should(HaveLen(1))
		Expect(runner.get(Default).Spec.Assignments[0]).To(And(
			HaveField("Steps", int32(7)),
			HaveField("GuidanceScale", 3.5),
			HaveField("Width", int32(64)),
			HaveField("Height", int32(0)),
			HaveField("Seed", int64(42)),
			HaveField("Model.Generation", int64(2)),
			HaveField("OutputDirectory", n.name+"/album/apples"),
		))
	})

	It("waits for a model that is missing and goes on when it appears", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createPool()
		job := n.createJob("apple")
		Eventually(n.job("apple")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "ModelNotFound", `there is no Model "emoji" in namespace "`+n.name+`"`))
		Expect(n.kstatusOf("GenerationJob", "apple")(Default)).To(Equal(kstatus.InProgressStatus))
		Consistently(n.pods).Should(BeEmpty(), "no GPU is held for a job that can't run")
		Eventually(n.events(job)).Should(ConsistOf(ContainSubstring("Warning ModelNotFound")))

		n.createModel()
		n.startRunner("default-0").finish("apple")
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
	})

	It("waits for a pool that is missing and goes on when it appears", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createJob("apple")
		Eventually(n.job("apple")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "PoolNotFound", `there is no RunnerPool "default"`))

		n.createPool()
		n.startRunner("default-0").finish("apple")
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
	})

	It("carries the runner's warnings in its status and as events, once each", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		job := n.createJob("apple", func(spec *v1alpha1.GenerationJobSpec) { spec.PrecomputeEmbedding = new(true) })
		runner := n.startRunner("default-0")
		Eventually(runner.assignments).Should(HaveLen(1))
		Expect(runner.get(Default).Spec.Assignments[0].PrecomputeEmbedding).To(BeTrue())
		warn := func(r *v1alpha1.AssignmentReport) { r.Warnings = []string{v1alpha1.PlaceholderEmbeddingWarning} }
		runner.report("apple", func(r *v1alpha1.AssignmentReport) { generating(r); warn(r) })
		Eventually(n.job("apple")).Should(HaveField("Status.Warnings", ConsistOf(v1alpha1.PlaceholderEmbeddingWarning)))
		runner.finish("apple")
		Eventually(n.job("apple")).Should(And(
			inPhase(v1alpha1.PhaseSucceeded, 100),
			HaveField("Status.Warnings", ConsistOf(v1alpha1.PlaceholderEmbeddingWarning)),
		))
		Eventually(n.events(job)).Should(And(HaveLen(3), ContainElement("Warning RunnerWarning: "+v1alpha1.PlaceholderEmbeddingWarning)))
		Consistently(n.events(job)).Should(HaveLen(3))
	})

	It("is tried again after a failure that may pass", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		job := n.createJob("apple")
		runner := n.startRunner("default-0")
		runner.report("apple", generating)
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseGenerating, 50))
		seed := n.job("apple")(Default).Status.Seed

		runner.report("apple", failed(v1alpha1.ReasonRunnerCrashed, "the process ended while generating", true))
		Eventually(n.job("apple")).Should(And(
			HaveField("Status.Phase", v1alpha1.PhasePending),
			haveCondition("Scheduled", metav1.ConditionFalse, "Backoff", "attempt 1 ended with RunnerCrashed: the process ended while generating; the next may begin at "),
			HaveField("Status.Failures", int32(1)),
			HaveField("Status.Attempt", int32(1)),
			HaveField("Status.RetryTime", Not(BeNil())),
		))
		Expect(n.kstatusOf("GenerationJob", "apple")(Default)).To(Equal(kstatus.InProgressStatus))

		By("not giving it away again before the runner has let go")
		Eventually(runner.assignments).Should(BeEmpty())
		Consistently(runner.assignments, "1500ms").Should(BeEmpty())
		runner.letGo("apple")

		Eventually(runner.assignments).Should(Equal([]string{"apple/2"}))
		Expect(runner.get(Default).Spec.Assignments[0].Seed).To(Equal(*seed), "a retry draws the same picture")
		Eventually(n.job("apple")).Should(And(
			haveCondition("Scheduled", metav1.ConditionTrue, "Bound", "attempt 2"),
			HaveField("Status.Attempt", int32(2)),
			HaveField("Status.Progress", int32(0)),
			HaveField("Status.RetryTime", BeNil()),
			haveCondition("ModelLoaded", metav1.ConditionUnknown, "NotLoaded", ""),
		))
		runner.finish("apple")
		Eventually(n.job("apple")).Should(And(inPhase(v1alpha1.PhaseSucceeded, 100), HaveField("Status.Failures", int32(1))))
		Eventually(n.events(job)).Should(ContainElement(ContainSubstring("Warning Backoff: attempt 1 ended with RunnerCrashed")))
	})

	It("fails at once for a reason that no attempt can mend", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		job := n.createJob("apple")
		runner := n.startRunner("default-0")
		runner.report("apple", modelLoading)
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseModelLoading, 5))
		runner.report("apple", failed(v1alpha1.ReasonModelInvalid, "unet/model.onnx: not a protobuf", false))

		By("staying unfinished until the runner has let go")
		Eventually(runner.assignments).Should(BeEmpty())
		Consistently(n.job("apple")).Should(And(
			inPhase(v1alpha1.PhaseModelLoading, 5),
			haveCondition("FailureTarget", metav1.ConditionTrue, "ModelInvalid", "unet/model.onnx"),
			haveCondition("ModelLoaded", metav1.ConditionFalse, "ModelInvalid", "unet/model.onnx"),
			haveCondition("Failed", metav1.ConditionUnknown, "InProgress", ""),
		))
		Expect(n.kstatusOf("GenerationJob", "apple")(Default)).To(Equal(kstatus.InProgressStatus))

		runner.letGo("apple")
		Eventually(n.job("apple")).Should(And(
			HaveField("Status.Phase", v1alpha1.PhaseFailed),
			haveCondition("Failed", metav1.ConditionTrue, "ModelInvalid", "unet/model.onnx: not a protobuf"),
			haveCondition("Complete", metav1.ConditionFalse, "ModelInvalid", ""),
			haveCondition("Ready", metav1.ConditionFalse, "ModelInvalid", ""),
			haveCondition("Stalled", metav1.ConditionTrue, "ModelInvalid", ""),
			HaveField("Status.CompletionTime", Not(BeNil())),
		))
		Expect(n.kstatusOf("GenerationJob", "apple")(Default)).To(Equal(kstatus.FailedStatus))
		Eventually(n.events(job)).Should(ContainElement("Warning ModelInvalid: unet/model.onnx: not a protobuf"))
		Eventually(n.model).Should(haveCondition("Loadable", metav1.ConditionFalse, "ModelInvalid", "unet/model.onnx"))
	})

	It("fails when its attempts are used up, and says what the last one failed for", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		n.createJob("apple", func(spec *v1alpha1.GenerationJobSpec) { spec.BackoffLimit = ptr.To[int32](1) })
		runner := n.startRunner("default-0")
		runner.report("apple", failed(v1alpha1.ReasonGenerationFailed, "first", true))
		runner.letGo("apple")
		runner.report("apple", failed(v1alpha1.ReasonSaveFailed, "no space left on device", true))
		runner.letGo("apple")
		Eventually(n.job("apple")).Should(And(
			HaveField("Status.Phase", v1alpha1.PhaseFailed),
			haveCondition("Failed", metav1.ConditionTrue, "BackoffLimitExceeded", "2 attempts failed (backoffLimit is 1), the last with SaveFailed: no space left on device"),
			HaveField("Status.Failures", int32(2)),
		))
	})

	It("is given to another runner when its runner goes away, which does not count", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool(twoRunners)
		job := n.createJob("apple", func(spec *v1alpha1.GenerationJobSpec) { spec.BackoffLimit = ptr.To[int32](0) })
		n.startRunner("default-0").report("apple", generating)
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseGenerating, 50))
		Expect(admin.Delete(ctx, &corev1.Pod{ObjectMeta: n.meta("default-0")})).To(Succeed())
		Eventually(n.events(job)).Should(ContainElement(ContainSubstring(`Warning RunnerLost: runner "default-0" went away during attempt 1`)))

		runner := n.startRunner("default-0")
		Eventually(runner.assignments).Should(Equal([]string{"apple/2"}))
		runner.finish("apple")
		Eventually(n.job("apple")).Should(And(inPhase(v1alpha1.PhaseSucceeded, 100), HaveField("Status.Failures", int32(0))))
	})

	It("is given to another runner when its pod is evicted", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		n.createJob("apple", func(spec *v1alpha1.GenerationJobSpec) { spec.BackoffLimit = ptr.To[int32](0) })
		n.startRunner("default-0").report("apple", generating)
		var pod corev1.Pod
		Expect(admin.Get(ctx, n.key("default-0"), &pod)).To(Succeed())
		pod.Status.Phase, pod.Status.Reason = corev1.PodFailed, "Evicted"
		Expect(admin.Status().Update(ctx, &pod)).To(Succeed())
		Eventually(n.podUID("default-0")).ShouldNot(Equal(pod.UID))

		runner := n.startRunner("default-0")
		Eventually(runner.assignments).Should(Equal([]string{"apple/2"}))
		runner.finish("apple")
		Eventually(n.job("apple")).Should(And(inPhase(v1alpha1.PhaseSucceeded, 100), HaveField("Status.Failures", int32(0))))
	})

	It("frees its runner when it is deleted", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		job := n.createJob("apple")
		runner := n.startRunner("default-0")
		runner.report("apple", generating)
		Expect(admin.Delete(ctx, job)).To(Succeed())
		Eventually(runner.assignments).Should(BeEmpty())
	})

	It("frees its runner when it is deleted while no manager runs, also under a name used again", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		job := n.createJob("apple")
		runner := n.startRunner("default-0")
		runner.report("apple", generating)
		manager.stop()
		Expect(admin.Delete(ctx, job)).To(Succeed())
		again := n.createJob("apple")
		manager = startManager()
		Eventually(runner.assignments).Should(BeEmpty())
		runner.letGo("apple")
		Eventually(func(g Gomega) { g.Expect(runner.get(g).Spec.Assignments).To(ConsistOf(HaveField("UID", again.UID))) }).Should(Succeed())
	})

	It("is not disturbed by a restart of the manager", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		n.createJob("apple")
		runner := n.startRunner("default-0")
		runner.report("apple", generating)
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseGenerating, 50))
		manager.stop()
		runner.report("apple", succeeded)
		manager = startManager()
		runner.letGo("apple")
		Eventually(n.job("apple")).Should(And(inPhase(v1alpha1.PhaseSucceeded, 100), HaveField("Status.Attempt", int32(1))))
	})

	It("ignores reports on an attempt that is not the bound one", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool()
		n.createJob("apple")
		runner := n.startRunner("default-0")
		runner.report("apple", generating)
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseGenerating, 50))
		runner.report("apple", func(r *v1alpha1.AssignmentReport) { succeeded(r); r.Attempt = 7 })
		Consistently(n.job("apple")).Should(And(
			haveCondition("Complete", metav1.ConditionUnknown, "InProgress", ""),
			HaveField("Status.Progress", int32(50)),
			HaveField("Status.Outputs", BeEmpty()),
		))
	})
})
