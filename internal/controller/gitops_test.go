// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// The kinds that people keep in Git, and a manifest of each.
const (
	kindJob   = "GenerationJob"
	kindModel = "Model"
	kindPool  = "RunnerPool"
)

var inGit = map[string]string{
	kindModel: "spec: {source: {path: emoji}, defaults: {steps: 20}}",
	kindPool:  "spec: {maxRunners: 1, template: {spec: {containers: [{name: runner, resources: {limits: {nvidia.com/gpu: 1}}}]}}}",
	kindJob:   "spec: {modelRef: {name: emoji}, prompt: a red apple}",
}

var nameInGit = map[string]string{kindModel: theModel, kindPool: v1alpha1.DefaultPoolName, kindJob: "apple"}

// repository is a directory of manifests, as a GitOps tool has them.
type repository struct {
	*namespace
	dir string
}

func inNewRepository(ctx SpecContext) *repository {
	GinkgoHelper()
	r := &repository{namespace: inNewNamespace(ctx), dir: GinkgoT().TempDir()}
	for kind, spec := range inGit {
		r.write(kind, spec)
	}
	return r
}

func (r *repository) path(kind string) string { return filepath.Join(r.dir, kind+".yaml") }

func (r *repository) write(kind, spec string) {
	GinkgoHelper()
	manifest := "apiVersion: " + v1alpha1.GroupVersion.String() + "\nkind: " + kind + "\nmetadata: {name: " + nameInGit[kind] + ", namespace: " + r.name + "}\n" + spec + "\n"
	Expect(os.WriteFile(r.path(kind), []byte(manifest), 0o600)).To(Succeed())
}

func (r *repository) kubectl(args ...string) string {
	GinkgoHelper()
	out, err := env.Kubectl(args...)
	Expect(err).NotTo(HaveOccurred(), out)
	return out
}

func (r *repository) apply(kinds ...string) {
	GinkgoHelper()
	for _, kind := range kinds {
		r.kubectl("apply", "-f", r.path(kind))
	}
}

// shows waits until the GitOps tools show that of an object, and sees to it that they find
// nothing to change: neither with kubectl nor as another field manager.
func (r *repository) shows(kind string, status kstatus.Status, argo string) {
	GinkgoHelper()
	Eventually(r.kstatusOf(kind, nameInGit[kind])).Should(Equal(status))
	Eventually(r.healthOf(kind)).Should(HavePrefix(argo))
	Expect(r.kubectl("diff", "-f", r.path(kind))).To(BeEmpty())
	generation := r.generation(kind)
	Expect(r.kubectl("apply", "--server-side", "--field-manager=argocd-controller", "-f", r.path(kind))).To(ContainSubstring("serverside-applied"))
	Expect(r.generation(kind)).To(Equal(generation))
}

func (r *repository) object(g Gomega, kind string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	g.Expect(admin.Get(r.ctx, r.key(nameInGit[kind]), object)).To(Succeed())
	return object
}

func (r *repository) generation(kind string) int64 { return r.object(Default, kind).GetGeneration() }

// healthOf returns "status: message" of Argo CD's health check, for Eventually.
func (r *repository) healthOf(kind string) func(Gomega) string {
	return func(g Gomega) string { return argoHealth(g, healthScript(), r.object(g, kind).Object) }
}

// reaches waits until the job is in the phase.
func (r *repository) reaches(phase v1alpha1.Phase) {
	GinkgoHelper()
	Eventually(r.job(nameInGit[kindJob])).Should(HaveField("Status.Phase", phase))
}

var _ = Describe("GitOps tools", func() {
	It("follow a job through every phase to Succeeded, and the model and the pool beside it", func(ctx SpecContext) {
		r := inNewRepository(ctx)
		r.apply(kindModel, kindPool, kindJob)

		By("Pending, while the pool starts a runner")
		r.reaches(v1alpha1.PhasePending)
		r.shows(kindJob, kstatus.InProgressStatus, "Progressing")
		r.shows(kindPool, kstatus.InProgressStatus, "Progressing")
		r.shows(kindModel, kstatus.CurrentStatus, "Healthy")

		runner := r.startRunner("default-0")
		for _, step := range []struct {
			phase  v1alpha1.Phase
			report func(*v1alpha1.AssignmentReport)
		}{
			{v1alpha1.PhaseInitializing, initializing},
			{v1alpha1.PhaseModelLoading, modelLoading},
			{v1alpha1.PhaseGenerating, generating},
			{v1alpha1.PhaseSaving, saving},
			{v1alpha1.PhaseSaving, succeeded}, // until the runner has let go
		} {
			By(string(step.phase))
			runner.report("apple", step.report)
			r.reaches(step.phase)
			r.shows(kindJob, kstatus.InProgressStatus, "Progressing")
		}

		By("Succeeded")
		runner.letGo("apple")
		r.reaches(v1alpha1.PhaseSucceeded)
		r.shows(kindJob, kstatus.CurrentStatus, "Healthy")
		r.shows(kindPool, kstatus.CurrentStatus, "Healthy")
		r.shows(kindModel, kstatus.CurrentStatus, "Healthy")
	})

	It("see a job that is tried again in progress, and one that failed as failed", func(ctx SpecContext) {
		r := inNewRepository(ctx)
		r.apply(kindModel, kindPool, kindJob)
		runner := r.startRunner("default-0")

		By("an attempt that failed and may be repeated")
		runner.report("apple", failed(v1alpha1.ReasonGenerationFailed, "out of luck", true))
		Eventually(r.job("apple")).Should(haveCondition("Scheduled", metav1.ConditionFalse, "Backoff", ""))
		r.shows(kindJob, kstatus.InProgressStatus, "Progressing")

		By("one that can't, until the runner has let go and after")
		runner.letGo("apple")
		runner.report("apple", failed(v1alpha1.ReasonModelInvalid, "unet/model.onnx: not a protobuf", false))
		Eventually(r.job("apple")).Should(haveCondition("FailureTarget", metav1.ConditionTrue, "ModelInvalid", ""))
		r.shows(kindJob, kstatus.InProgressStatus, "Progressing")
		runner.letGo("apple")
		r.reaches(v1alpha1.PhaseFailed)
		r.shows(kindJob, kstatus.FailedStatus, "Degraded: ModelInvalid: unet/model.onnx")
		r.shows(kindModel, kstatus.CurrentStatus, "Healthy")
	})

	It("see a job that is suspended as that, one that goes on in progress, and a cancelled one as failed", func(ctx SpecContext) {
		r := inNewRepository(ctx)
		spec, _ := strings.CutSuffix(inGit[kindJob], "}")
		r.write(kindJob, spec+", suspend: true}")
		r.apply(kindModel, kindPool, kindJob)
		r.shows(kindJob, kstatus.CurrentStatus, "Suspended: Suspended")
		r.write(kindJob, spec+", suspend: false}")
		r.apply(kindJob)
		r.shows(kindJob, kstatus.InProgressStatus, "Progressing")
		r.write(kindJob, spec+", suspend: false, cancel: true}")
		r.apply(kindJob)
		r.shows(kindJob, kstatus.FailedStatus, "Degraded: Cancelled")
	})

	It("see a pool whose template makes no pods as failed, until it is mended", func(ctx SpecContext) {
		r := inNewRepository(ctx)
		good := inGit[kindPool]
		r.write(kindPool, "spec: {template: {spec: {nodeSelektor: {}}}}")
		r.apply(kindModel, kindPool, kindJob)
		r.shows(kindPool, kstatus.FailedStatus, "Degraded: InvalidTemplate")
		r.shows(kindJob, kstatus.InProgressStatus, "Progressing: PoolInvalid")
		r.write(kindPool, good)
		// kubectl owns the field too, since it applied the pool above.
		r.kubectl("apply", "--server-side", "--field-manager=argocd-controller", "--force-conflicts", "-f", r.path(kindPool))
		Eventually(r.pods).Should(ContainElement("default-0"))
		r.startRunner("default-0")
		Eventually(r.kstatusOf(kindPool, "default")).Should(Equal(kstatus.CurrentStatus))
	})

	It("see a suspended pool as done, and what waits for it in progress", func(ctx SpecContext) {
		r := inNewRepository(ctx)
		r.write(kindPool, "spec: {suspend: true}")
		r.apply(kindModel, kindPool, kindJob)
		r.shows(kindPool, kstatus.CurrentStatus, "Healthy: PoolSuspended")
		r.shows(kindJob, kstatus.InProgressStatus, "Progressing: PoolSuspended")
	})

	It("see a job whose pool is elsewhere and does not allow it in progress", func(ctx SpecContext) {
		r := inNewRepository(ctx)
		r.write(kindJob, "spec: {modelRef: {name: emoji}, prompt: a red apple, poolRef: {name: default, namespace: elsewhere}}")
		r.apply(kindModel, kindJob)
		r.shows(kindJob, kstatus.InProgressStatus, "Progressing: NotAllowedByPool")
	})

	It("see a job that a pool elsewhere allows in progress until it ends, and the pool with it", func(ctx SpecContext) {
		owner, guest := inNewRepository(ctx), inNewRepository(ctx)
		spec, _ := strings.CutSuffix(inGit[kindPool], "}")
		owner.write(kindPool, spec+", allowedNamespaces: {from: All}}")
		owner.apply(kindPool)
		guest.write(kindJob, "spec: {modelRef: {name: emoji}, prompt: a red apple, poolRef: {name: default, namespace: "+owner.name+"}}")
		guest.apply(kindModel, kindJob)
		owner.connectRunner("default-0")
		guest.shows(kindJob, kstatus.InProgressStatus, "Progressing: WaitingForRunner")
		owner.shows(kindPool, kstatus.InProgressStatus, "Progressing: Scaling")
		owner.startRunner("default-0").finish("apple")
		guest.shows(kindJob, kstatus.CurrentStatus, "Healthy: Succeeded")
		owner.shows(kindPool, kstatus.CurrentStatus, "Healthy: Scaled")
	})

	It("see a pool in progress until the last runner of an old template is replaced", func(ctx SpecContext) {
		r := inNewRepository(ctx)
		r.apply(kindModel, kindPool, kindJob)
		runner := r.startRunner("default-0")
		r.putOnNode("default-0")
		runner.report("apple", generating)
		r.reaches(v1alpha1.PhaseGenerating)

		By("Updating, as the runner has a job")
		labelled := strings.Replace(inGit[kindPool], "template: {", "template: {metadata: {labels: {version: '2'}}, ", 1)
		r.write(kindPool, strings.Replace(labelled, "spec: {", "spec: {minRunners: 1, ", 1))
		r.apply(kindPool)
		r.shows(kindPool, kstatus.InProgressStatus, "Progressing: Updating")
		r.shows(kindJob, kstatus.InProgressStatus, "Progressing: InProgress")

		By("Scaling, as its pod has still to end, which makes room for the next")
		runner.finish("apple")
		Eventually(r.deleted("default-0")).Should(BeTrue())
		Eventually(r.pool).Should(HaveField("Status.Runners", int32(0)))
		r.shows(kindPool, kstatus.InProgressStatus, "Progressing: Scaling")

		By("Scaled")
		old := r.podUID("default-0")()
		Expect(admin.Delete(ctx, &corev1.Pod{ObjectMeta: r.meta("default-0")}, client.GracePeriodSeconds(0))).To(Succeed())
		r.startRunner(r.newPodThan(string(old)))
		r.shows(kindPool, kstatus.CurrentStatus, "Healthy: Scaled: 1 of 1 runner ready")
	})

	DescribeTable("see of a pool that can't give its job a runner now",
		func(ctx SpecContext, pool string, happens func(*repository), status kstatus.Status, argo, job string) {
			r := inNewRepository(ctx)
			spec, _ := strings.CutSuffix(inGit[kindPool], "}")
			r.write(kindPool, spec+pool+"}")
			r.apply(kindModel, kindPool, kindJob)
			r.connectRunner("default-0")
			happens(r)
			r.shows(kindPool, status, argo)
			r.shows(kindJob, kstatus.InProgressStatus, job)
		},
		Entry("progress, where its pod waits for a GPU", "", func(r *repository) {
			r.setPodStatus("default-0", func(status *corev1.PodStatus) {
				status.Conditions = []corev1.PodCondition{{
					Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
					Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
				}}
			})
		}, kstatus.InProgressStatus, `Progressing: Unschedulable: pod "default-0" is not scheduled`,
			`Progressing: WaitingForRunner: RunnerPool "default" has no free runner yet: pod "default-0" is not scheduled`),
		Entry("progress, where its image can't be had", "", func(r *repository) {
			r.setPodStatus("default-0", func(status *corev1.PodStatus) {
				status.ContainerStatuses = []corev1.ContainerStatus{{
					Name:  "runner",
					State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such image"}},
				}}
			})
		}, kstatus.InProgressStatus, `Progressing: Scaling: pod "default-0" waits in container "runner": ErrImagePull`,
			`Progressing: WaitingForRunner: RunnerPool "default" has no free runner yet: pod "default-0" waits in container "runner"`),
		Entry("failure, where nobody can say which namespaces it allows, while it serves its own",
			", allowedNamespaces: {from: Selector, selector: {matchExpressions: [{key: team, operator: Near}]}}", func(*repository) {},
			kstatus.FailedStatus, "Degraded: InvalidNamespaces: spec.allowedNamespaces.selector: ",
			`Progressing: WaitingForRunner: no runner of RunnerPool "default" is free yet`),
	)

	// A model stays usable whatever a runner found: its publisher can mend it, and the next
	// job is the one to try. What failed for it is the job.
	DescribeTable("see a model as usable, and of the job that needs it",
		func(ctx SpecContext, report func(*v1alpha1.AssignmentReport), loadable, verified string, ends bool, status kstatus.Status, argo string) {
			r := inNewRepository(ctx)
			r.write(kindModel, "spec: {source: {oci: {reference: 'models.example/emoji:1'}}}")
			r.apply(kindModel, kindPool, kindJob)
			r.shows(kindModel, kstatus.CurrentStatus, "Healthy: Accepted")
			runner := r.startRunner("default-0")
			runner.report("apple", report)
			Eventually(r.model).Should(HaveField("Status.Conditions", ContainElements(
				And(HaveField("Type", v1alpha1.ConditionLoadable), HaveField("Reason", loadable)),
				And(HaveField("Type", v1alpha1.ConditionVerified), HaveField("Reason", verified)),
			)))
			if ends {
				runner.letGo("apple")
			}
			r.shows(kindJob, status, argo)
			r.shows(kindModel, kstatus.CurrentStatus, "Healthy: Accepted")
		},
		Entry("progress while it is fetched", func(report *v1alpha1.AssignmentReport) {
			modelLoading(report)
			report.Pull = &v1alpha1.ModelPull{Digest: "sha256:" + strings.Repeat("a", 64), DoneBytes: 1e6, TotalBytes: 2e6}
		}, "NotLoaded", "NotPulled", false, kstatus.InProgressStatus, "Progressing: InProgress: ModelLoading"),
		Entry("progress where it could not be had, as it is tried again", failed(v1alpha1.ReasonModelPullFailed, "no such host", true),
			"ModelPullFailed", "NotPulled", false, kstatus.InProgressStatus, "Progressing: Backoff: attempt 1 ended with ModelPullFailed"),
		Entry("failure where it is not what its digest says", failed(v1alpha1.ReasonModelVerifyFailed, "the digest is wrong", false),
			"ModelVerifyFailed", "ModelVerifyFailed", true, kstatus.FailedStatus, "Degraded: ModelVerifyFailed: the digest is wrong"),
	)

	It("see a pool whose pods the API server refuses in progress", func(ctx SpecContext) {
		r := inNewRepository(ctx)
		r.write(kindPool, "spec: {minRunners: 1, template: {spec: {hostNetwork: true}}}")
		r.apply(kindPool)
		r.shows(kindPool, kstatus.InProgressStatus, "Progressing: PodsNotCreated")
	})

	DescribeTable("may apply a model, a pool and a job in any order: the end is the same",
		func(ctx SpecContext, kinds ...string) {
			r := inNewRepository(ctx)
			for _, kind := range kinds {
				r.apply(kind)
				// The manager is to have seen each before the next comes.
				Eventually(func(g Gomega) int64 {
					observed, _, err := unstructured.NestedInt64(r.object(g, kind).Object, "status", "observedGeneration")
					g.Expect(err).NotTo(HaveOccurred())
					return observed
				}).Should(Equal(int64(1)))
			}
			r.startRunner("default-0").finish("apple")
			r.reaches(v1alpha1.PhaseSucceeded)
			for _, kind := range kinds {
				Eventually(r.kstatusOf(kind, nameInGit[kind])).Should(Equal(kstatus.CurrentStatus))
			}
			Expect(r.job("apple")(Default).Status).To(And(
				HaveField("Attempt", int32(1)), HaveField("Failures", int32(0)), HaveField("Warnings", BeEmpty()),
			))
		},
		Entry("model, pool, job", kindModel, kindPool, kindJob),
		Entry("model, job, pool", kindModel, kindJob, kindPool),
		Entry("pool, model, job", kindPool, kindModel, kindJob),
		Entry("pool, job, model", kindPool, kindJob, kindModel),
		Entry("job, model, pool", kindJob, kindModel, kindPool),
		Entry("job, pool, model", kindJob, kindPool, kindModel),
	)
})

var _ = Describe("Argo CD's health check", func() {
	// Objects that the reconcilers leave at once, or that say nothing yet.
	conditions := func(conditions ...any) map[string]any {
		return map[string]any{"observedGeneration": int64(1), "conditions": conditions}
	}
	condition := func(kind, status, reason string) any {
		return map[string]any{"type": kind, "status": status, "reason": reason, "message": "why"}
	}
	DescribeTable("says", func(status map[string]any, health string) {
		object := map[string]any{"metadata": map[string]any{"generation": int64(1)}}
		if status != nil {
			object["status"] = status
		}
		Expect(argoHealth(Default, healthScript(), object)).To(HavePrefix(health))
	},
		Entry("Progressing without a status", nil, "Progressing: "),
		Entry("Progressing before the manager looked", map[string]any{"observedGeneration": int64(-1)}, "Progressing: "),
		Entry("Progressing without conditions", map[string]any{"observedGeneration": int64(1)}, "Progressing: "),
		Entry("Progressing while not Ready, whatever else is said", conditions(condition("Ready", "False", "Scaling")), "Progressing: Scaling: why"),
		Entry("Progressing while a job to be suspended is let go of",
			conditions(condition("Suspended", "False", "Releasing"), condition("Ready", "False", "Releasing"), condition("Reconciling", "True", "Releasing")), "Progressing: Releasing: why"),
		Entry("Suspended of a parked job",
			conditions(condition("Suspended", "True", "Suspended"), condition("Scheduled", "False", "Suspended")), "Suspended: Suspended: why"),
		Entry("Degraded of a cancelled one", conditions(condition("Ready", "False", "Cancelled"), condition("Stalled", "True", "Cancelled")), "Degraded: Cancelled: why"),
		Entry("Progressing of what was Stalled with another spec",
			map[string]any{"observedGeneration": int64(0), "conditions": []any{condition("Stalled", "True", "InvalidTemplate")}}, "Progressing: "),
	)

	It("is added to what argocd-cm holds already, for each kind that people create", func(ctx SpecContext) {
		out, err := env.Kubectl("create", "namespace", "argocd")
		Expect(err).NotTo(HaveOccurred(), out)
		key := types.NamespacedName{Namespace: "argocd", Name: "argocd-cm"}
		before := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
			Data:       map[string]string{"url": "https://argocd.example"},
		}
		Expect(admin.Create(ctx, before)).To(Succeed())
		out, err = env.Kubectl("apply", "--server-side", "--field-manager=atelier", "-k", "config/gitops/argocd")
		Expect(err).NotTo(HaveOccurred(), out)
		var after corev1.ConfigMap
		Expect(admin.Get(ctx, key, &after)).To(Succeed())
		Expect(after.Data).To(HaveKeyWithValue("url", "https://argocd.example"))
		for kind := range inGit {
			Expect(after.Data).To(HaveKeyWithValue("resource.customizations.health.generation.atelier.dev_"+kind, healthScript()))
		}
		Expect(after.Data).To(HaveLen(1+len(inGit)), "nobody keeps Runners in Git")
	})
})
