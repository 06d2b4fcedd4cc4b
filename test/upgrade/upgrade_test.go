// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package upgrade installs this repository over what an earlier version of it left in a
// cluster, at work, and wants everything to go on.
package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/controller"
	"github.com/atelier-dev/atelier/test/internal/repository"
	"github.com/atelier-dev/atelier/test/localcluster"
)

// fixture is what the earlier version left, see its README.md.
const fixture = "test/testdata/upgrade"

// namespace of all its objects.
const namespace = "studio"

// runnerNode is the node of the runner's pod.
var runnerNode = localcluster.NodeOptions{Name: "node-1", GPUs: 1}

// settled is how long a new manager is watched for what it must not do.
const settled = 5 * time.Second

func TestWhatAnEarlierVersionLeftGoesOn(t *testing.T) {
	u := newUpgrade(t)
	// The runner of the earlier version goes on working while the manager is replaced: its
	// pod is there, its last report stands, and this version's runner is not started.
	u.Expect(u.cluster.StartNode(u.ctx, runnerNode)).To(Succeed())
	u.Expect(u.cluster.StopNode(runnerNode.Name)).To(Succeed())
	u.kubectl("apply", "--server-side", "-f", filepath.Join(u.root, fixture, "crd"))
	u.kubectl("wait", "--for=condition=Established", "crd", "--all")
	u.openVolumes()
	before := u.restore()
	u.addOddPool()

	// Nothing starts on a node that is stopped, which Kubernetes does not know yet: the new
	// manager's pod must not go there.
	u.kubectl("cordon", runnerNode.Name)
	u.Expect(u.cluster.Install(u.ctx, "config/default")).To(Succeed())
	u.kubectl("uncordon", runnerNode.Name)
	u.leads()
	u.Consistently(func(g Gomega) {
		running := u.job("running")
		g.Expect(running.Status.Phase).To(Equal(v1alpha1.PhaseGenerating))
		g.Expect(running.Status.Attempt).To(BeEquivalentTo(1))
		g.Expect(running.Status.Runner).To(Equal(before["running"].Status.Runner))
		g.Expect(u.job("waiting").Status.Phase).To(Equal(v1alpha1.PhasePending))
		g.Expect(u.pod().UID).To(Equal(before["running"].Status.Runner.PodUID))
	}).WithTimeout(settled).Should(Succeed())

	// Then its process ends, and this version's runner takes its place.
	u.Expect(u.cluster.StartNode(u.ctx, runnerNode)).To(Succeed())
	for _, name := range []string{"running", "waiting"} {
		u.succeeds(name, before[name])
	}
	u.Expect(u.job("without-model").Status.Conditions).To(ContainElement(And(
		HaveField("Type", v1alpha1.ConditionScheduled), HaveField("Reason", v1alpha1.ReasonModelNotFound))))
	u.addModel("missing")
	u.succeeds("without-model", before["without-model"])

	for _, name := range []string{"done", "failed"} {
		u.unchanged(name, before[name])
	}
	u.scaled()
	u.oddPoolIsTold()
}

// upgrade is a cluster to be upgraded.
type upgrade struct {
	Gomega
	t       *testing.T
	ctx     context.Context
	cluster *localcluster.Cluster
	api     client.Client
	root    string
}

func newUpgrade(t *testing.T) *upgrade {
	t.Helper()
	ctrl.SetLogger(klog.NewKlogr())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	u := &upgrade{Gomega: NewWithT(t), t: t, ctx: ctx}
	u.SetDefaultEventuallyTimeout(2 * time.Minute)
	u.SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	var err error
	u.root, err = repository.Root()
	u.Expect(err).NotTo(HaveOccurred())
	u.cluster, err = localcluster.Start(ctx, localcluster.Options{Root: u.root, Nodes: []localcluster.NodeOptions{{Name: "system"}}})
	u.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if t.Failed() {
			out, err := u.cluster.KubectlOutput(context.Background(), "get", "generationjobs,runnerpools,runners,pods", "-n", namespace, "-o", "yaml")
			t.Log(out, err)
		}
		if err := u.cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	u.api, err = client.New(u.cluster.Config(), client.Options{Scheme: controller.NewScheme()})
	u.Expect(err).NotTo(HaveOccurred())
	return u
}

func (u *upgrade) kubectl(args ...string) {
	u.t.Helper()
	_, err := u.cluster.KubectlOutput(u.ctx, args...)
	u.Expect(err).NotTo(HaveOccurred())
}

// openVolumes makes the namespace and the volumes that the earlier version's pods mount.
func (u *upgrade) openVolumes() {
	u.t.Helper()
	u.Expect(u.api.Create(u.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
	for _, claim := range []string{"models", "outputs"} {
		u.Expect(u.cluster.BindClaim(u.ctx, namespace, claim, u.volume(claim))).To(Succeed())
	}
	u.Expect(os.CopyFS(filepath.Join(u.volume("models"), "tiny"), os.DirFS(filepath.Join(u.root, "test/testdata/models/tiny")))).To(Succeed())
}

func (u *upgrade) volume(claim string) string {
	return filepath.Join(u.cluster.Dir(), "volumes", claim)
}

// restore creates the objects of the earlier version and then writes their statuses, and
// returns the jobs. What names another object by uid is given that object's new one.
func (u *upgrade) restore() map[string]*v1alpha1.GenerationJob {
	u.t.Helper()
	file, err := os.ReadFile(filepath.Join(u.root, fixture, "objects.yaml"))
	u.Expect(err).NotTo(HaveOccurred())
	documents := strings.Split(string(file), "\n---\n")
	var uids []string // old and new ones in turns
	for _, document := range documents {
		object := u.decode(strings.NewReplacer(uids...).Replace(document))
		old := object.GetUID()
		object.SetUID("")
		u.Expect(u.api.Create(u.ctx, object)).To(Succeed(), object.GetName())
		uids = append(uids, string(old), string(object.GetUID()))
	}
	jobs := map[string]*v1alpha1.GenerationJob{}
	for _, document := range documents {
		object := u.decode(strings.NewReplacer(uids...).Replace(document))
		u.writeStatus(object)
		if object.GetKind() == "GenerationJob" {
			jobs[object.GetName()] = u.job(object.GetName())
		}
	}
	u.Expect(jobs).To(HaveLen(5))
	return jobs
}

func (u *upgrade) decode(document string) *unstructured.Unstructured {
	u.t.Helper()
	object := &unstructured.Unstructured{}
	err := yaml.NewYAMLToJSONDecoder(strings.NewReader(document)).Decode(&object.Object)
	if errors.Is(err, io.EOF) {
		err = errors.New("an empty document")
	}
	u.Expect(err).NotTo(HaveOccurred())
	return object
}

// writeStatus writes an object's status, where it has one.
func (u *upgrade) writeStatus(object *unstructured.Unstructured) {
	u.t.Helper()
	status, ok := object.Object["status"]
	if !ok {
		return
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	u.Expect(err).NotTo(HaveOccurred())
	u.Expect(u.api.Status().Patch(u.ctx, object, client.RawPatch(types.MergePatchType, patch))).To(Succeed(), object.GetName())
}

// leads waits until the new manager has looked at the job that runs: its status has what
// the earlier version did not write.
func (u *upgrade) leads() {
	u.t.Helper()
	u.Eventually(func() []v1alpha1.Stage { return u.job("running").Status.Stages }).ShouldNot(BeEmpty())
}

// addOddPool makes a pool that today's schema refuses and the earlier version's did not,
// though its manager could not read it.
func (u *upgrade) addOddPool() {
	u.t.Helper()
	u.Expect(u.api.Create(u.ctx, &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "odd"},
		Spec:       v1alpha1.RunnerPoolSpec{IdleTimeout: new(v1alpha1.Duration("1d"))},
	})).To(Succeed())
}

// oddPoolIsTold waits until that pool's status says what is wrong with it.
func (u *upgrade) oddPoolIsTold() {
	u.t.Helper()
	u.Eventually(func(g Gomega) {
		g.Expect(u.pool(g, "odd").Status.Conditions).To(ContainElement(And(
			HaveField("Type", v1alpha1.ConditionStalled), HaveField("Reason", v1alpha1.ReasonInvalidDuration), HaveField("Message", ContainSubstring(`"1d"`)))))
	}).Should(Succeed())
}

// scaled waits until the pool is as this version wants it, the template of its pods too.
func (u *upgrade) scaled() {
	u.t.Helper()
	u.Eventually(func(g Gomega) {
		pool := u.pool(g, "default")
		g.Expect(pool.Status.Conditions).To(ContainElement(And(
			HaveField("Type", v1alpha1.ConditionReady), HaveField("Status", metav1.ConditionTrue), HaveField("Reason", v1alpha1.ReasonScaled))))
		g.Expect(pool.Status.UpdatedRunners).To(Equal(pool.Status.Runners))
	}).Should(Succeed())
}

func (u *upgrade) pool(g Gomega, name string) *v1alpha1.RunnerPool {
	u.t.Helper()
	pool := &v1alpha1.RunnerPool{}
	g.Expect(u.api.Get(u.ctx, client.ObjectKey{Namespace: namespace, Name: name}, pool)).To(Succeed())
	return pool
}

func (u *upgrade) job(name string) *v1alpha1.GenerationJob {
	u.t.Helper()
	var job v1alpha1.GenerationJob
	u.Expect(u.api.Get(u.ctx, client.ObjectKey{Namespace: namespace, Name: name}, &job)).To(Succeed())
	return &job
}

// pod is that of the pool's one runner.
func (u *upgrade) pod() *corev1.Pod {
	u.t.Helper()
	var pod corev1.Pod
	u.Expect(u.api.Get(u.ctx, client.ObjectKey{Namespace: namespace, Name: "default-0"}, &pod)).To(Succeed())
	return &pod
}

func (u *upgrade) addModel(name string) {
	u.t.Helper()
	u.Expect(os.CopyFS(filepath.Join(u.volume("models"), name), os.DirFS(filepath.Join(u.root, "test/testdata/models/tiny")))).To(Succeed())
	u.Expect(u.api.Create(u.ctx, &v1alpha1.Model{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.ModelSpec{Source: v1alpha1.ModelSource{Path: name}},
	})).To(Succeed())
}

// succeeds waits for the end of a job, which keeps the seed that it had.
func (u *upgrade) succeeds(name string, before *v1alpha1.GenerationJob) {
	u.t.Helper()
	u.Eventually(func() v1alpha1.Phase { return u.job(name).Status.Phase }).Should(Equal(v1alpha1.PhaseSucceeded), name)
	after := u.job(name)
	u.Expect(after.Status.Seed).To(Equal(before.Status.Seed), name)
	u.Expect(after.Status.Failures).To(BeZero(), "%s: a node that went down is no failure of the job", name)
	u.Expect(after.Status.Outputs).NotTo(BeEmpty(), name)
	for _, output := range after.Status.Outputs {
		u.Expect(filepath.Join(u.volume("outputs"), output.Path)).To(BeARegularFile(), name)
	}
	u.t.Logf("%s: succeeded at attempt %d", name, after.Status.Attempt)
}

// unchanged wants a job that had ended to say what it said.
func (u *upgrade) unchanged(name string, before *v1alpha1.GenerationJob) {
	u.t.Helper()
	after := u.job(name)
	u.Expect(after.Status.Phase).To(Equal(before.Status.Phase), name)
	u.Expect(after.Status.Outputs).To(Equal(before.Status.Outputs), name)
	u.Expect(after.Status.CompletionTime).To(Equal(before.Status.CompletionTime), name)
	u.Expect(after.Status.Attempt).To(Equal(before.Status.Attempt), name)
	u.Expect(after.Status.Failures).To(Equal(before.Status.Failures), name)
	for _, kind := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed, v1alpha1.ConditionReady, v1alpha1.ConditionStalled} {
		u.Expect(meta.FindStatusCondition(after.Status.Conditions, kind)).To(Equal(meta.FindStatusCondition(before.Status.Conditions, kind)), "%s of %s", kind, name)
	}
}
