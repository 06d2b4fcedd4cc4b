// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
			spec.IdleTimeout = new(v1alpha1.Duration("1s"))
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
		n.createPool(func(spec *v1alpha1.RunnerPoolSpec) { spec.IdleTimeout = new(v1alpha1.Duration("0s")) })
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

	It("puts its annotations on the accounts of its runners, those that are there too, and takes them off again", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		pool := n.createPool(func(spec *v1alpha1.RunnerPoolSpec) {
			spec.MinRunners = ptr.To[int32](1)
			spec.ServiceAccountAnnotations = map[string]string{"eks.amazonaws.com/role-arn": "first"}
		})
		n.startRunner("default-0")
		first := n.podUID("default-0")()
		annotations := func(g Gomega) map[string]string {
			var account corev1.ServiceAccount
			g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: n.name, Name: "default-0"}, &account)).To(Succeed())
			return account.Annotations
		}
		Expect(annotations(Default)).To(HaveKeyWithValue("eks.amazonaws.com/role-arn", "first"))

		update(n, pool, func() {
			pool.Spec.ServiceAccountAnnotations = map[string]string{"iam.gke.io/gcp-service-account": "second"}
		})
		Eventually(n.podUID("default-0")).ShouldNot(Or(Equal(first), BeEmpty()), "a cloud gives a pod its identity when it is made")
		Expect(annotations(Default)).To(And(HaveKeyWithValue("iam.gke.io/gcp-service-account", "second"), Not(HaveKey("eks.amazonaws.com/role-arn"))))
		update(n, pool, func() { pool.Spec.ServiceAccountAnnotations = nil })
		Eventually(annotations).Should(BeEmpty())
	})

	It("replaces runners when its template changes, one after the other, idle ones first and busy ones when they are done", func(ctx SpecContext) {
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
		Eventually(n.pool).Should(HaveField("Status.UpdatedRunners", int32(1)))
		n.createJob("pear")
		n.startRunner("default-0").finish("pear")
		busy.finish("apple")
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
		Eventually(n.podUID("default-1")).ShouldNot(Or(Equal(idle), BeEmpty()))
		n.startRunner("default-1")
		Eventually(n.pool).Should(And(HaveField("Status.UpdatedRunners", int32(2)), haveCondition("Ready", metav1.ConditionTrue, "Scaled", "")))
	})

	It("lets runners of the old template work on when pods of the new one do not start", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		pool := n.createPool(twoRunners, func(spec *v1alpha1.RunnerPoolSpec) { spec.MinRunners = ptr.To[int32](2) })
		n.startRunner("default-0")
		n.startRunner("default-1")
		first := map[string]types.UID{"default-0": n.podUID("default-0")(), "default-1": n.podUID("default-1")()}
		update(n, pool, func() {
			template(`{"spec": {"containers": [{"name": "runner", "image": "no/such:image"}]}}`)(&pool.Spec)
		})
		left := func(g Gomega) []string {
			names := []string{}
			for name, uid := range first {
				if n.podUID(name)() == uid {
					names = append(names, name)
				}
			}
			return names
		}
		Eventually(left).Should(HaveLen(1))
		n.createJob("apple")
		runner := n.connectRunner(left(Default)[0])
		Expect(runner.job()).To(Equal("apple"))
		Consistently(left).Should(HaveLen(1))
		runner.finish("apple")
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
		Consistently(left).Should(HaveLen(1))
	})

	It("gives a job to the runner that has its model loaded, and lets no other wait too long for that", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		model := n.createModel()
		Expect(admin.Create(ctx, &v1alpha1.Model{ObjectMeta: n.meta("other"), Spec: v1alpha1.ModelSpec{Source: v1alpha1.ModelSource{Path: "other"}}})).To(Succeed())
		n.createPool(func(spec *v1alpha1.RunnerPoolSpec) {
			spec.MaxAffinityWait = new(v1alpha1.Duration("2s"))
		})
		n.createJob("first")
		runner := n.startRunner("default-0")
		Expect(runner.job()).To(Equal("first"))
		runner.write(func(status *v1alpha1.RunnerStatus) {
			status.Model = &v1alpha1.LoadedModel{Name: theModel, UID: model.UID, Generation: model.Generation}
		})
		n.createJob("a-swap", func(spec *v1alpha1.GenerationJobSpec) { spec.ModelRef.Name = "other" })
		Eventually(n.pool).Should(HaveField("Status.PendingJobs", int32(1)))
		var order []string
		for i := range 100 {
			n.createJob(fmt.Sprint("loaded-", i))
			Eventually(n.pool).Should(HaveField("Status.PendingJobs", int32(2)))
			runner.finish(runner.job())
			Eventually(runner.assignments).ShouldNot(BeEmpty())
			if order = append(order, runner.job()); order[i] == "a-swap" {
				break
			}
		}
		Expect(len(order)).To(BeNumerically(">", 1), "the loaded model goes first")
		Expect(order).To(ContainElement("a-swap"), "in the end it does not")
	})

	It("gives no jobs away while it is suspended, and runs empty", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		pool := n.createPool(func(spec *v1alpha1.RunnerPoolSpec) { spec.MinRunners = ptr.To[int32](1) })
		n.createJob("apple")
		runner := n.startRunner("default-0")
		Expect(runner.job()).To(Equal("apple"))
		update(n, pool, func() { pool.Spec.Suspend = new(true) })
		n.createJob("pear")
		Eventually(n.job("pear")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "PoolSuspended", `RunnerPool "default" is suspended`))
		Eventually(n.pool).Should(haveCondition("Ready", metav1.ConditionFalse, "Scaling", "suspended; 1 runner left"))
		runner.finish("apple")
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
		Eventually(n.pods).Should(BeEmpty())
		Eventually(n.pool).Should(haveCondition("Ready", metav1.ConditionTrue, "PoolSuspended", "no runner is left"))
		Expect(n.kstatusOf("RunnerPool", "default")(Default)).To(Equal(kstatus.CurrentStatus))

		update(n, pool, func() { pool.Spec.Suspend = nil })
		n.startRunner("default-0").finish("pear")
		Eventually(n.job("pear")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
	})

	It("gives no more jobs to a runner whose node is cordoned, and replaces it when it is done", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool(twoRunners)
		n.createJob("apple")
		runner := n.startRunner("default-0")
		Expect(runner.job()).To(Equal("apple"))
		node := n.putOnNode("default-0")
		update(n, node, func() { node.Spec.Unschedulable = true })
		Eventually(n.pool).Should(haveCondition("Ready", metav1.ConditionFalse, "Scaling",
			fmt.Sprintf("runner %q takes no more jobs, as node %q is cordoned", "default-0", node.Name)))
		n.createJob("pear")
		n.startRunner("default-1").finish("pear")
		Eventually(n.job("pear")).Should(And(inPhase(v1alpha1.PhaseSucceeded, 100), HaveField("Status.Runner.Name", "default-1")))
		Consistently(n.podUID("default-0")).ShouldNot(BeEmpty())
		runner.finish("apple")
		Eventually(n.job("apple")).Should(inPhase(v1alpha1.PhaseSucceeded, 100))
		Eventually(n.deleted("default-0")).Should(BeTrue())
	})

	It("gives up a runner that has a job and is silent, and what comes of it later is refused", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createModel()
		n.createPool(twoRunners, func(spec *v1alpha1.RunnerPoolSpec) {
			spec.UnreadyTimeout = new(v1alpha1.Duration("10s"))
		})
		job := n.createJob("apple")
		late := n.startRunner("default-0")
		Expect(late.job()).To(Equal("apple"))
		late.report("apple", generating)
		n.putOnNode("default-0")
		stale := late.get(Default)
		n.setPodStatus("default-0", func(status *corev1.PodStatus) {
			status.Conditions = []corev1.PodCondition{{
				Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "NodeNotReady",
				LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Hour)),
			}}
		})
		Eventually(n.deleted("default-0")).Should(BeTrue())
		Eventually(n.events(n.pool(Default))).Should(ContainElement(HavePrefix(`Warning RunnerLost: pod "default-0" is deleted, as its runner has jobs and was not ready since `)))

		By("ending the pod as its node would when it comes back")
		Expect(admin.Delete(ctx, &corev1.Pod{ObjectMeta: n.meta("default-0")}, client.GracePeriodSeconds(0))).To(Succeed())
		second := n.startRunner(n.newPodThan(string(stale.Spec.PodUID)))
		Eventually(second.assignments).Should(Equal([]string{"apple/2"}))
		stale.Status.Assignments[0].Phase = v1alpha1.PhaseSucceeded
		Expect(late.client.Status().Update(ctx, stale)).To(Or(WithTransform(apierrors.IsNotFound, BeTrue()), WithTransform(apierrors.IsForbidden, BeTrue()), WithTransform(apierrors.IsConflict, BeTrue()), WithTransform(apierrors.IsUnauthorized, BeTrue())))
		second.finish("apple")
		Eventually(n.job("apple")).Should(And(inPhase(v1alpha1.PhaseSucceeded, 100), HaveField("Status.Failures", int32(0)), HaveField("Status.Attempt", int32(2))))
		Eventually(n.events(job)).Should(ContainElement(ContainSubstring("RunnerLost")))
	})

	It("passes on everything that its template says, under the restricted standard", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		n.createPool(func(spec *v1alpha1.RunnerPoolSpec) { spec.MinRunners = ptr.To[int32](1) }, template(`{
			"metadata": {"labels": {"team": "art"}},
			"spec": {
				"nodeSelector": {"gpu": "h100"},
				"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
				"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]}}},
				"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
				"imagePullSecrets": [{"name": "registry"}],
				"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "h100"}],
				"initContainers": [{"name": "warm", "image": "warm"}],
				"containers": [
					{"name": "runner", "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "16Gi"}, "requests": {"cpu": "2"}, "claims": [{"name": "gpu"}]}},
					{"name": "sidecar", "image": "side"}
				],
				"volumes": [
					{"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": true}},
					{"name": "outputs", "persistentVolumeClaim": {"claimName": "outputs"}}
				]
			}
		}`))
		n.connectRunner("default-0")
		var pod corev1.Pod
		Expect(admin.Get(ctx, n.key("default-0"), &pod)).To(Succeed())
		runner := pod.Spec.Containers[0]
		Expect(pod.Labels).To(HaveKeyWithValue("team", "art"))
		Expect(pod.Spec.NodeSelector).To(Equal(map[string]string{"gpu": "h100"}))
		Expect(pod.Spec.Tolerations).To(ContainElement(HaveField("Key", "nvidia.com/gpu")))
		Expect(pod.Spec.Affinity.NodeAffinity).NotTo(BeNil())
		Expect(pod.Spec.TopologySpreadConstraints).To(HaveLen(1))
		Expect(pod.Spec.ImagePullSecrets).To(ConsistOf(HaveField("Name", "registry")))
		Expect(pod.Spec.ResourceClaims).To(ConsistOf(HaveField("ResourceClaimTemplateName", HaveValue(Equal("h100")))))
		Expect(runner.Resources.Claims).To(ConsistOf(HaveField("Name", "gpu")))
		Expect(runner.Resources.Limits).To(HaveKey(corev1.ResourceName("nvidia.com/gpu")))
		Expect(runner.Resources.Requests.Cpu().String()).To(Equal("2"))
		Expect(pod.Spec.Volumes).To(ContainElement(HaveField("PersistentVolumeClaim.ClaimName", "outputs")))
		Expect(pod.Spec.InitContainers).To(HaveLen(1))
		Expect(pod.Spec.Containers).To(HaveLen(2))
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
