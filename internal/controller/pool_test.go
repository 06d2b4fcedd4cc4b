// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

var _ = Describe("A pool", func() {
	It("has no runner until a job waits, then one for each up to the maximum", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool(twoRunners)
		Eventually(n.pool).Should(haveCondition("Ready", metav1.ConditionTrue, "Scaled", "0 of 0 runners ready"))
		Expect(n.kstatusOf("RunnerPool", "default")(Default)).To(Equal(kstatus.CurrentStatus))
		Consistently(n.pods).Should(BeEmpty())

		for _, name := range []string{"a", "b", "c"} {
			n.createJob(name)
		}
		Eventually(n.pods).Should(ConsistOf("default-0", "default-1"))
		Consistently(n.pods).Should(HaveLen(2))
		Eventually(n.pool).Should(And(
			HaveField("Status.PendingJobs", int32(3)),
			HaveField("Status.DesiredRunners", int32(2)),
			haveCondition("Ready", metav1.ConditionFalse, "Scaling", `runner "default-0" is starting`),
		))
		Expect(n.kstatusOf("RunnerPool", "default")(Default)).To(Equal(kstatus.InProgressStatus))

		first, second := n.startRunner("default-0"), n.startRunner("default-1")
		Eventually(n.pool).Should(And(
			HaveField("Status.PendingJobs", int32(1)),
			HaveField("Status.Runners", int32(2)),
			HaveField("Status.ReadyRunners", int32(2)),
			HaveField("Status.BusyRunners", int32(2)),
		))
		waiting := sets.New("a", "b", "c").Delete(first.job(), second.job()).UnsortedList()
		Expect(waiting).To(HaveLen(1))
		Eventually(n.job(waiting[0])).Should(haveCondition("Scheduled", metav1.ConditionFalse, "WaitingForRunner", `no runner of RunnerPool "default" is free yet (maxRunners is 2)`))

		By("giving the third to the first that is free")
		second.finish(second.job())
		Eventually(second.assignments).Should(Equal([]string{waiting[0] + "/1"}))
	})

	It("gives jobs away first come, first served", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool(func(spec *v1alpha1.RunnerPoolSpec) { spec.Slots = ptr.To[int32](2) })
		early := n.createJob("z-early")
		Eventually(func() metav1.Time { return metav1.NewTime(time.Now().Truncate(time.Second)) }).
			Should(WithTransform(func(now metav1.Time) bool { return early.CreationTimestamp.Before(&now) }, BeTrue()), "the API keeps seconds")
		n.createJob("a-late")
		runner := n.startRunner("default-0")
		Eventually(runner.assignments).Should(Equal([]string{"z-early/1", "a-late/1"}))
	})

	It("removes runners that were idle for long, down to the minimum", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool(twoRunners, func(spec *v1alpha1.RunnerPoolSpec) {
			spec.MinRunners = ptr.To[int32](1)
			spec.IdleTimeout = &metav1.Duration{Duration: time.Second}
		})
		Eventually(n.pods).Should(ConsistOf("default-0"))
		n.createJob("a")
		n.createJob("b")
		Eventually(n.pods).Should(HaveLen(2))
		first, second := n.startRunner("default-0"), n.startRunner("default-1")
		first.finish(first.job())
		Consistently(n.pods, "1500ms").Should(ContainElement("default-1"), "it is busy")
		second.finish(second.job())
		Eventually(n.pods).Should(HaveLen(1))
		Consistently(n.pods, "1500ms").Should(HaveLen(1))
	})

	It("keeps a pod that waits for a GPU while jobs wait, and the job says on what", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool(func(spec *v1alpha1.RunnerPoolSpec) { spec.IdleTimeout = &metav1.Duration{} })
		n.createJob("apple")
		n.connectRunner("default-0")
		n.setPodStatus("default-0", func(status *corev1.PodStatus) {
			status.Conditions = []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
				Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
			}}
		})
		Eventually(n.job("apple")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "WaitingForRunner",
			`RunnerPool "default" has no free runner yet: pod "default-0" is not scheduled: Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.`))
		Consistently(n.pods).Should(ConsistOf("default-0"))

		By("saying what keeps a container from starting")
		n.setPodStatus("default-0", func(status *corev1.PodStatus) {
			status.Conditions = nil
			status.ContainerStatuses = []corev1.ContainerStatus{{
				Name:  "runner",
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such image"}},
			}}
		})
		Eventually(n.job("apple")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "WaitingForRunner",
			`pod "default-0" waits in container "runner": ErrImagePull: no such image`))
	})

	It("is stalled by a template that is none, and its jobs say so", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		pool := n.createPool(template(`{"spec": {"containers": [{"name": "runner", "imag": "x"}]}}`))
		n.createJob("apple")
		Eventually(n.pool).Should(And(
			haveCondition("Stalled", metav1.ConditionTrue, "InvalidTemplate", `unknown field "spec.containers[0].imag"`),
			haveCondition("Ready", metav1.ConditionFalse, "InvalidTemplate", ""),
		))
		Expect(n.kstatusOf("RunnerPool", "default")(Default)).To(Equal(kstatus.FailedStatus))
		Eventually(n.job("apple")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "PoolInvalid", `unknown field "spec.containers[0].imag"`))

		By("going on when it is mended")
		update(n, pool, func() { pool.Spec.Template = nil })
		n.startRunner("default-0").finish("apple")
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
		Eventually(n.pool).Should(haveCondition("Ready", metav1.ConditionTrue, "Scaled", ""))
		Expect(n.pool(Default).Status.Conditions).NotTo(ContainElement(HaveField("Type", "Stalled")))
	})

	It("says why the API server refuses its pods, and goes on when it may", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		pool := n.createPool(template(`{"spec": {"hostNetwork": true}}`))
		n.createJob("apple")
		Eventually(n.pool).Should(haveCondition("Ready", metav1.ConditionFalse, "PodsNotCreated", `pod "default-0" was not created: `))
		Expect(n.pool(Default)).To(haveCondition("Ready", metav1.ConditionFalse, "PodsNotCreated", "host namespaces (hostNetwork=true)"))
		Expect(n.kstatusOf("RunnerPool", "default")(Default)).To(Equal(kstatus.InProgressStatus))
		Eventually(n.job("apple")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "WaitingForRunner", "hostNetwork=true"))

		update(n, pool, func() { pool.Spec.Template = nil })
		n.startRunner("default-0").finish("apple")
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
	})

	It("does not take what belongs to someone else for its own", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		Expect(admin.Create(ctx, &corev1.ServiceAccount{ObjectMeta: n.meta("default-0")})).To(Succeed())
		n.createModel()
		n.createPool()
		n.createJob("apple")
		Eventually(n.pool).Should(haveCondition("Ready", metav1.ConditionFalse, "PodsNotCreated", `there is one of that name that does not belong to "default"`))
		Consistently(n.pods).Should(BeEmpty())
	})

	It("replaces idle runners when its template changes, and busy ones when they are done", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		pool := n.createPool(twoRunners, func(spec *v1alpha1.RunnerPoolSpec) { spec.MinRunners = ptr.To[int32](2) })
		n.startRunner("default-1")
		idle := n.podUID("default-1")()
		n.createJob("apple")
		busy := n.connectRunner("default-1")
		Eventually(busy.assignments).Should(Equal([]string{"apple/1"}))
		n.startRunner("default-0")
		other := n.podUID("default-0")()

		update(n, pool, func() { template(`{"metadata": {"labels": {"version": "2"}}}`)(&pool.Spec) })
		Eventually(n.podUID("default-0")).ShouldNot(Or(Equal(other), BeEmpty()))
		Consistently(n.podUID("default-1")).Should(Equal(idle))
		busy.finish("apple")
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
		Eventually(n.podUID("default-1")).ShouldNot(Or(Equal(idle), BeEmpty()))
	})

	It("mends the identity of a runner", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createPool(func(spec *v1alpha1.RunnerPoolSpec) { spec.MinRunners = ptr.To[int32](1) })
		n.startRunner("default-0")
		var role rbacv1.Role
		Expect(admin.Get(ctx, n.key("default-0"), &role)).To(Succeed())
		right := role.DeepCopy().Rules
		role.Rules[0].ResourceNames = []string{"another"}
		Expect(admin.Update(ctx, &role)).To(Succeed())
		Expect(admin.Delete(ctx, &rbacv1.RoleBinding{ObjectMeta: n.meta("default-0")})).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(admin.Get(ctx, n.key("default-0"), &role)).To(Succeed())
			g.Expect(role.Rules).To(Equal(right))
			g.Expect(admin.Get(ctx, n.key("default-0"), &rbacv1.RoleBinding{})).To(Succeed())
		}).Should(Succeed())
	})

	It("gives everything it makes an owner, so that it goes away with the pool", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		pool := n.createPool(func(spec *v1alpha1.RunnerPoolSpec) { spec.MinRunners = ptr.To[int32](1) })
		n.startRunner("default-0")
		for _, object := range []client.Object{&corev1.Pod{}, &corev1.ServiceAccount{}, &rbacv1.Role{}, &rbacv1.RoleBinding{}} {
			Expect(admin.Get(ctx, n.key("default-0"), object)).To(Succeed())
			Expect(metav1.IsControlledBy(object, pool)).To(BeTrue(), "%T", object)
		}
		var runner v1alpha1.Runner
		Expect(admin.Get(ctx, n.key("default-0"), &runner)).To(Succeed())
		Expect(runner.OwnerReferences).To(ConsistOf(And(HaveField("Kind", "Pod"), HaveField("UID", n.podUID("default-0")()))))
	})
})

var _ = Describe("A model", func() {
	It("counts the runners that have it loaded, and says whether it can be", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		model := n.createModel()
		n.createPool(func(spec *v1alpha1.RunnerPoolSpec) { spec.MinRunners = ptr.To[int32](1) })
		Eventually(n.model).Should(And(
			haveCondition("Ready", metav1.ConditionTrue, "Accepted", ""),
			haveCondition("Loadable", metav1.ConditionUnknown, "NotLoaded", ""),
		))
		Expect(n.kstatusOf("Model", "emoji")(Default)).To(Equal(kstatus.CurrentStatus))
		runner := n.startRunner("default-0")
		load := func(generation int64) func(*v1alpha1.RunnerStatus) {
			return func(status *v1alpha1.RunnerStatus) {
				status.Model = &v1alpha1.LoadedModel{Name: "emoji", UID: model.UID, Generation: generation}
			}
		}
		runner.write(load(1))
		Eventually(n.model).Should(And(
			HaveField("Status.LoadedRunners", int32(1)),
			haveCondition("Loadable", metav1.ConditionTrue, "Loaded", "default-0"),
		))

		By("starting anew when its spec changes")
		update(n, model, func() { model.Spec.Source.Path = "elsewhere" })
		Eventually(n.model).Should(And(
			HaveField("Status.LoadedRunners", int32(0)),
			haveCondition("Loadable", metav1.ConditionUnknown, "NotLoaded", ""),
		))
		runner.write(load(2))
		Eventually(n.model).Should(haveCondition("Loadable", metav1.ConditionTrue, "Loaded", ""))
		runner.write(func(status *v1alpha1.RunnerStatus) { status.Model = nil })
		Eventually(n.model).Should(And(
			HaveField("Status.LoadedRunners", int32(0)),
			haveCondition("Loadable", metav1.ConditionTrue, "Loaded", ""),
		))
	})
})
