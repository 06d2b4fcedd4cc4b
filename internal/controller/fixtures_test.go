// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/controller"
)

// theModel is the model that jobs name.
const theModel = "emoji"

// namespace is one test's own, with short ways to make and read objects in it.
type namespace struct {
	ctx  context.Context
	name string
}

func inNewNamespace(ctx context.Context) *namespace {
	GinkgoHelper()
	return &namespace{ctx: ctx, name: newNamespace(ctx)}
}

func (n *namespace) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: n.name, Name: name}
}

func (n *namespace) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: n.name, Name: name}
}

func (n *namespace) createModel() *v1alpha1.Model {
	GinkgoHelper()
	model := &v1alpha1.Model{ObjectMeta: n.meta(theModel), Spec: v1alpha1.ModelSpec{Source: v1alpha1.ModelSource{Path: theModel}}}
	Expect(admin.Create(n.ctx, model)).To(Succeed())
	return model
}

func (n *namespace) createPool(change ...func(*v1alpha1.RunnerPoolSpec)) *v1alpha1.RunnerPool {
	GinkgoHelper()
	pool := &v1alpha1.RunnerPool{ObjectMeta: n.meta("default")}
	for _, c := range change {
		c(&pool.Spec)
	}
	Expect(admin.Create(n.ctx, pool)).To(Succeed())
	return pool
}

func twoRunners(spec *v1alpha1.RunnerPoolSpec) { spec.MaxRunners = ptr.To[int32](2) }

func template(json string) func(*v1alpha1.RunnerPoolSpec) {
	return func(spec *v1alpha1.RunnerPoolSpec) { spec.Template = &runtime.RawExtension{Raw: []byte(json)} }
}

func (n *namespace) createJob(name string, change ...func(*v1alpha1.GenerationJobSpec)) *v1alpha1.GenerationJob {
	GinkgoHelper()
	job := &v1alpha1.GenerationJob{
		ObjectMeta: n.meta(name),
		Spec:       v1alpha1.GenerationJobSpec{ModelRef: v1alpha1.ObjectReference{Name: theModel}, Prompt: "a red apple"},
	}
	for _, c := range change {
		c(&job.Spec)
	}
	Expect(admin.Create(n.ctx, job)).To(Succeed())
	return job
}

// job reads a job, for Eventually.
func (n *namespace) job(name string) func(Gomega) *v1alpha1.GenerationJob {
	return func(g Gomega) *v1alpha1.GenerationJob {
		var job v1alpha1.GenerationJob
		g.Expect(admin.Get(n.ctx, n.key(name), &job)).To(Succeed())
		return &job
	}
}

func (n *namespace) pool(g Gomega) *v1alpha1.RunnerPool {
	var pool v1alpha1.RunnerPool
	g.Expect(admin.Get(n.ctx, n.key("default"), &pool)).To(Succeed())
	return &pool
}

func (n *namespace) model(g Gomega) *v1alpha1.Model {
	var model v1alpha1.Model
	g.Expect(admin.Get(n.ctx, n.key(theModel), &model)).To(Succeed())
	return &model
}

// pods returns the names of the pods there are, for Eventually.
func (n *namespace) pods(g Gomega) []string {
	var pods corev1.PodList
	g.Expect(admin.List(n.ctx, &pods, client.InNamespace(n.name))).To(Succeed())
	names := make([]string, 0, len(pods.Items))
	for _, pod := range pods.Items {
		names = append(names, pod.Name)
	}
	return names
}

// update changes an object that others write too.
func update[T client.Object](n *namespace, object T, change func()) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(admin.Get(n.ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
		change()
		g.Expect(admin.Update(n.ctx, object)).To(Succeed())
	}).Should(Succeed())
}

// podUID returns the uid of a pod, empty where there is none, for Eventually.
func (n *namespace) podUID(name string) func() types.UID {
	return func() types.UID {
		var pod corev1.Pod
		if err := admin.Get(n.ctx, n.key(name), &pod); err != nil {
			return ""
		}
		return pod.UID
	}
}

// deleted reports whether a pod is gone or on its way, for Eventually.
func (n *namespace) deleted(name string) func() bool {
	return func() bool {
		var pod corev1.Pod
		return admin.Get(n.ctx, n.key(name), &pod) != nil || !pod.DeletionTimestamp.IsZero()
	}
}

// newPodThan waits for a pod that is not the one with the uid, and returns its name.
func (n *namespace) newPodThan(uid string) string {
	GinkgoHelper()
	var pods corev1.PodList
	Eventually(func(g Gomega) []corev1.Pod {
		g.Expect(admin.List(n.ctx, &pods, client.InNamespace(n.name))).To(Succeed())
		pods.Items = slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool { return string(pod.UID) == uid })
		return pods.Items
	}).ShouldNot(BeEmpty())
	return pods.Items[0].Name
}

// putOnNode makes a node and puts a pod on it, as a scheduler does. There is no kubelet: a
// pod that is deleted then stays until someone says that it is gone.
func (n *namespace) putOnNode(pod string) *corev1.Node {
	GinkgoHelper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{GenerateName: "node-"}}
	Expect(admin.Create(n.ctx, node)).To(Succeed())
	DeferCleanup(func(ctx context.Context) error { return admin.Delete(ctx, node) })
	binding := &corev1.Binding{ObjectMeta: n.meta(pod), Target: corev1.ObjectReference{Kind: "Node", Name: node.Name}}
	Expect(admin.SubResource("binding").Create(n.ctx, &corev1.Pod{ObjectMeta: n.meta(pod)}, binding)).To(Succeed())
	return node
}

// setPodStatus says what a scheduler or a kubelet would say of a pod.
func (n *namespace) setPodStatus(name string, change func(*corev1.PodStatus)) {
	GinkgoHelper()
	var pod corev1.Pod
	Expect(admin.Get(n.ctx, n.key(name), &pod)).To(Succeed())
	change(&pod.Status)
	Expect(admin.Status().Update(n.ctx, &pod)).To(Succeed())
}

// events returns "type reason: note" of the events about an object, for Eventually.
func (n *namespace) events(object client.Object) func(Gomega) []string {
	return func(g Gomega) []string {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("events.k8s.io/v1")
		list.SetKind("EventList")
		g.Expect(admin.List(n.ctx, list, client.InNamespace(n.name))).To(Succeed())
		texts := []string{}
		for _, e := range list.Items {
			uid, _, _ := unstructured.NestedString(e.Object, "regarding", "uid")
			if uid == string(object.GetUID()) {
				texts = append(texts, fmt.Sprintf("%v %v: %v", e.Object["type"], e.Object["reason"], e.Object["note"]))
			}
		}
		return texts
	}
}

// kstatusOf computes what GitOps tools show for an object, with the library that they use.
func (n *namespace) kstatusOf(kind, name string) func(Gomega) kstatus.Status {
	return func(g Gomega) kstatus.Status {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		g.Expect(admin.Get(n.ctx, n.key(name), object)).To(Succeed())
		result, err := kstatus.Compute(object)
		g.Expect(err).NotTo(HaveOccurred())
		return result.Status
	}
}

// fakeRunner plays a runner's part: it writes the status of one Runner with the identity
// of that runner's pod.
type fakeRunner struct {
	ctx    context.Context
	client client.Client
	key    types.NamespacedName
}

// startRunner waits for a runner's pod and Runner, and reports it ready.
func (n *namespace) startRunner(name string) *fakeRunner {
	GinkgoHelper()
	r := n.connectRunner(name)
	r.write(func(status *v1alpha1.RunnerStatus) {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonStarted})
	})
	return r
}

// startIdleRunner has the pool keep one runner, and starts it.
func (n *namespace) startIdleRunner() *fakeRunner {
	GinkgoHelper()
	pool := n.pool(Default)
	update(n, pool, func() { pool.Spec.MinRunners = ptr.To[int32](1) })
	return n.startRunner("default-0")
}

// connectRunner waits for a runner's pod and Runner.
func (n *namespace) connectRunner(name string) *fakeRunner {
	GinkgoHelper()
	var pod corev1.Pod
	var runner v1alpha1.Runner
	Eventually(func(g Gomega) {
		g.Expect(admin.Get(n.ctx, n.key(name), &pod)).To(Succeed())
		g.Expect(admin.Get(n.ctx, n.key(name), &runner)).To(Succeed())
		g.Expect(runner.Spec.PodUID).To(Equal(pod.UID))
	}).Should(Succeed())
	c, err := client.New(env.Pod(n.name, pod.Name, string(pod.UID), pod.Spec.ServiceAccountName), client.Options{Scheme: controller.NewScheme()})
	Expect(err).NotTo(HaveOccurred())
	return &fakeRunner{ctx: n.ctx, client: c, key: n.key(name)}
}

func (r *fakeRunner) get(g Gomega) *v1alpha1.Runner {
	var runner v1alpha1.Runner
	g.Expect(r.client.Get(r.ctx, r.key, &runner)).To(Succeed())
	return &runner
}

// assignments returns "job/attempt" of what the runner is given, for Eventually.
func (r *fakeRunner) assignments(g Gomega) []string {
	runner := r.get(g)
	assigned := make([]string, 0, len(runner.Spec.Assignments))
	for _, a := range runner.Spec.Assignments {
		assigned = append(assigned, fmt.Sprintf("%s/%d", a.JobName, a.Attempt))
	}
	return assigned
}

// job waits for an assignment and returns its job's name.
func (r *fakeRunner) job() string {
	GinkgoHelper()
	Eventually(r.assignments).ShouldNot(BeEmpty())
	return r.get(Default).Spec.Assignments[0].JobName
}

// write changes the runner's status.
func (r *fakeRunner) write(change func(*v1alpha1.RunnerStatus)) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		runner := r.get(g)
		change(&runner.Status)
		runner.Status.ObservedGeneration = runner.Generation
		g.Expect(r.client.Status().Update(r.ctx, runner)).To(Succeed())
	}).Should(Succeed())
}

// report waits for an assignment of the job and writes a report on it.
func (r *fakeRunner) report(job string, change func(*v1alpha1.AssignmentReport)) {
	GinkgoHelper()
	var assignment *v1alpha1.Assignment
	Eventually(func(g Gomega) *v1alpha1.Assignment {
		runner := r.get(g)
		at := slices.IndexFunc(runner.Spec.Assignments, func(a v1alpha1.Assignment) bool { return a.JobName == job })
		if at >= 0 {
			assignment = &runner.Spec.Assignments[at]
		}
		return assignment
	}).ShouldNot(BeNil())
	r.write(func(status *v1alpha1.RunnerStatus) {
		at := slices.IndexFunc(status.Assignments, func(r v1alpha1.AssignmentReport) bool { return r.UID == assignment.UID })
		if at < 0 {
			at = len(status.Assignments)
			status.Assignments = append(status.Assignments, v1alpha1.AssignmentReport{UID: assignment.UID})
		}
		status.Assignments[at].Attempt = assignment.Attempt
		change(&status.Assignments[at])
	})
}

// letGo waits until the job was taken away and drops the report on it.
func (r *fakeRunner) letGo(job string) {
	GinkgoHelper()
	Eventually(r.assignments).ShouldNot(ContainElement(HavePrefix(job + "/")))
	r.write(func(status *v1alpha1.RunnerStatus) { status.Assignments = nil })
}

// The reports of a job that goes well, in their order.
func initializing(r *v1alpha1.AssignmentReport) {
	r.Phase, r.Progress = v1alpha1.PhaseInitializing, v1alpha1.ProgressInitializing
}

func modelLoading(r *v1alpha1.AssignmentReport) {
	r.Phase, r.Progress = v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading
	r.PipelineHealthy = &v1alpha1.PipelineHealth{Healthy: true, Reason: v1alpha1.ReasonIdle, Message: "nothing is loaded"}
}

func generating(r *v1alpha1.AssignmentReport) {
	r.Phase, r.Progress, r.Step, r.Steps = v1alpha1.PhaseGenerating, 50, 15, 30
	r.ModelLoaded = true
}

func saving(r *v1alpha1.AssignmentReport) {
	r.Phase, r.Progress, r.Step = v1alpha1.PhaseSaving, v1alpha1.ProgressSaving, 30
}

func succeeded(r *v1alpha1.AssignmentReport) {
	r.Phase, r.Progress, r.ModelLoaded = v1alpha1.PhaseSucceeded, v1alpha1.ProgressSucceeded, true
	r.Outputs = []v1alpha1.Output{{Path: "a/0.png", SHA256: "00", SizeBytes: 1, Width: 64, Height: 64}}
}

// failed is the report of a failure.
func failed(reason, message string, retryable bool) func(*v1alpha1.AssignmentReport) {
	return func(r *v1alpha1.AssignmentReport) {
		r.Phase = v1alpha1.PhaseFailed
		r.Error = &v1alpha1.AssignmentError{Reason: reason, Message: message, Retryable: retryable}
	}
}

// finish plays the rest of a job that the runner has.
func (r *fakeRunner) finish(job string) {
	GinkgoHelper()
	r.report(job, succeeded)
	r.letGo(job)
}

// haveCondition matches objects by one condition's status and reason, and a part of its
// message.
func haveCondition(condition string, status metav1.ConditionStatus, reason, message string) OmegaMatcher {
	return WithTransform(func(object client.Object) metav1.Condition {
		var conditions []metav1.Condition
		switch o := object.(type) {
		case *v1alpha1.GenerationJob:
			conditions = o.Status.Conditions
		case *v1alpha1.RunnerPool:
			conditions = o.Status.Conditions
		case *v1alpha1.Model:
			conditions = o.Status.Conditions
		}
		return ptr.Deref(meta.FindStatusCondition(conditions, condition), metav1.Condition{})
	}, And(
		HaveField("Status", status),
		HaveField("Reason", reason),
		HaveField("Message", ContainSubstring(message)),
	))
}

// inPhase matches jobs by phase and progress.
func inPhase(phase v1alpha1.Phase, progress int32) OmegaMatcher {
	return And(HaveField("Status.Phase", phase), HaveField("Status.Progress", progress))
}
