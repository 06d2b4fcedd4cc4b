// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/test/internal/pool"
)

// studio is a namespace of one spec, with volumes, models and a pool of its own.
type studio struct {
	namespace       string
	models, outputs string // directories of this machine
}

// newStudio makes a studio with the Model "tiny" and no pool.
func newStudio(ctx context.Context) *studio {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "studio-",
		// Runners are to need no more than that lets them.
		Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	Expect(api.Create(ctx, namespace)).To(Succeed())
	// The processes are to end before their directories go away.
	s := &studio{namespace: namespace.Name, models: GinkgoT().TempDir(), outputs: GinkgoT().TempDir()}
	DeferCleanup(func(ctx SpecContext) {
		Expect(api.DeleteAllOf(ctx, &v1alpha1.RunnerPool{}, client.InNamespace(s.namespace))).To(Succeed())
		Expect(api.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(s.namespace), client.GracePeriodSeconds(0))).To(Succeed())
		Expect(api.Delete(ctx, namespace)).To(Succeed())
		Eventually(s.pods).WithContext(ctx).Should(BeEmpty())
	})
	Expect(cluster.BindClaim(ctx, s.namespace, "models", s.models)).To(Succeed())
	Expect(cluster.BindClaim(ctx, s.namespace, "outputs", s.outputs)).To(Succeed())
	s.addModel(ctx, "tiny")
	return s
}

// addModel puts the tiny model into the models volume under a name, with a Model of
// that name.
func (s *studio) addModel(ctx context.Context, name string) {
	GinkgoHelper()
	copyModel("tiny", filepath.Join(s.models, name))
	s.createModel(ctx, name)
}

func (s *studio) createModel(ctx context.Context, name string) {
	GinkgoHelper()
	Expect(api.Create(ctx, &v1alpha1.Model{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec:       v1alpha1.ModelSpec{Source: v1alpha1.ModelSource{Path: name}},
	})).To(Succeed())
}

// openPool makes the pool that jobs use, with one runner at most.
func (s *studio) openPool(ctx context.Context, minRunners int32) {
	GinkgoHelper()
	s.openPoolOf(ctx, minRunners, 1, "10m")
}

func (s *studio) openPoolOf(ctx context.Context, minRunners, maxRunners int32, idleTimeout v1alpha1.Duration) {
	GinkgoHelper()
	spec := v1alpha1.RunnerPoolSpec{MinRunners: &minRunners, MaxRunners: &maxRunners, IdleTimeout: &idleTimeout}
	Expect(api.Create(ctx, pool.New(s.namespace, spec, nil))).To(Succeed())
}

// apply applies a manifest in the studio's namespace and returns what kubectl printed.
func (s *studio) apply(ctx context.Context, manifest string) (string, error) {
	return cluster.KubectlInput(ctx, manifest, "apply", "-n", s.namespace, "-f", "-")
}

func (s *studio) mustApply(ctx context.Context, manifest string) string {
	GinkgoHelper()
	out, err := s.apply(ctx, manifest)
	Expect(err).NotTo(HaveOccurred())
	return out
}

// job is a short job of the tiny model.
func job(name string, change ...func(*v1alpha1.GenerationJobSpec)) *v1alpha1.GenerationJob {
	steps, seed := int32(4), int64(42)
	j := &v1alpha1.GenerationJob{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.GenerationJobSpec{
			ModelRef: v1alpha1.ObjectReference{Name: "tiny"}, Prompt: "a red apple", Steps: &steps, Seed: &seed,
		},
	}
	for _, c := range change {
		c(&j.Spec)
	}
	return j
}

// long makes a job take minutes.
func long(spec *v1alpha1.GenerationJobSpec) {
	steps, images := int32(1000), int32(16)
	spec.Steps, spec.Images = &steps, &images
}

func withSteps(steps int32) func(*v1alpha1.GenerationJobSpec) {
	return func(spec *v1alpha1.GenerationJobSpec) { spec.Steps = &steps }
}

func withModel(name string) func(*v1alpha1.GenerationJobSpec) {
	return func(spec *v1alpha1.GenerationJobSpec) { spec.ModelRef.Name = name }
}

func withSeed(seed int64) func(*v1alpha1.GenerationJobSpec) {
	return func(spec *v1alpha1.GenerationJobSpec) { spec.Seed = &seed }
}

// submit creates a job.
func (s *studio) submit(ctx context.Context, j *v1alpha1.GenerationJob) *v1alpha1.GenerationJob {
	GinkgoHelper()
	j.Namespace = s.namespace
	Expect(api.Create(ctx, j)).To(Succeed())
	return j
}

// job reads a job, for Eventually.
func (s *studio) job(ctx context.Context, name string) *v1alpha1.GenerationJob {
	GinkgoHelper()
	var j v1alpha1.GenerationJob
	Expect(api.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &j)).To(Succeed())
	return &j
}

// ended waits until a job has ended.
func (s *studio) ended(ctx context.Context, name string, phase v1alpha1.Phase) *v1alpha1.GenerationJob {
	GinkgoHelper()
	Eventually(func() v1alpha1.Phase { return s.job(ctx, name).Status.Phase }).
		Should(BeElementOf(v1alpha1.PhaseSucceeded, v1alpha1.PhaseFailed))
	j := s.job(ctx, name)
	Expect(j.Status.Phase).To(Equal(phase), "%+v", j.Status.Conditions)
	return j
}

// generating waits until a job draws.
func (s *studio) generating(ctx context.Context, name string) {
	GinkgoHelper()
	Eventually(func() v1alpha1.Phase { return s.job(ctx, name).Status.Phase }).Should(Equal(v1alpha1.PhaseGenerating))
}

// runner reads a Runner.
func (s *studio) runner(ctx context.Context, name string) *v1alpha1.Runner {
	GinkgoHelper()
	var r v1alpha1.Runner
	Expect(api.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &r)).To(Succeed())
	return &r
}

// readyRunner waits until a runner is Ready.
func (s *studio) readyRunner(ctx context.Context, name string) *v1alpha1.Runner {
	GinkgoHelper()
	var r v1alpha1.Runner
	Eventually(func(g Gomega) {
		g.Expect(api.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &r)).To(Succeed())
		g.Expect(r.Status.Conditions).To(haveCondition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonStarted))
	}).Should(Succeed())
	return &r
}

// firstPod reads the pod of the pool's first runner.
func (s *studio) firstPod(ctx context.Context) *corev1.Pod {
	GinkgoHelper()
	var p corev1.Pod
	Expect(api.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "default-0"}, &p)).To(Succeed())
	return &p
}

// pods names the pods that there are.
func (s *studio) pods(ctx context.Context) []string {
	var list corev1.PodList
	if err := api.List(ctx, &list, client.InNamespace(s.namespace)); err != nil {
		return []string{err.Error()}
	}
	var names []string
	for _, p := range list.Items {
		names = append(names, p.Name)
	}
	return names
}

// picture reads a file that a job wrote.
func (s *studio) picture(output v1alpha1.Output) []byte {
	GinkgoHelper()
	data, err := os.ReadFile(filepath.Join(s.outputs, output.Path))
	Expect(err).NotTo(HaveOccurred())
	return data
}

// haveCondition matches a list of conditions with one of that type, status and reason.
func haveCondition(kind string, status metav1.ConditionStatus, reason string) OmegaMatcher {
	return ContainElement(And(HaveField("Type", kind), HaveField("Status", status), HaveField("Reason", reason)))
}

// messageOf is the message of a condition.
func messageOf(conditions []metav1.Condition, kind string) string {
	for _, c := range conditions {
		if c.Type == kind {
			return c.Message
		}
	}
	return ""
}

// history is what an outside watcher saw of an object: one entry for each change of what
// it looks at.
type history[T client.Object] struct {
	mu      sync.Mutex
	entries []string
}

// watchHistory watches the object of that name and notes what look returns.
func watchHistory[T client.Object](ctx context.Context, list client.ObjectList, namespace, name string, look func(T) string) *history[T] {
	GinkgoHelper()
	h := &history[T]{}
	ctx, cancel := context.WithCancel(ctx)
	watcher, err := api.Watch(ctx, list, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name})
	Expect(err).NotTo(HaveOccurred())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watcher.ResultChan() {
			object, ok := event.Object.(T)
			if ok && event.Type != watch.Deleted {
				h.note(look(object))
			}
		}
	}()
	DeferCleanup(func() {
		cancel()
		watcher.Stop()
		<-done
	})
	return h
}

func (h *history[T]) note(entry string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.entries) == 0 || h.entries[len(h.entries)-1] != entry {
		h.entries = append(h.entries, entry)
	}
}

// seen is a copy of the entries.
func (h *history[T]) seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.entries...)
}

// watchJob notes phase and progress of a job.
func (s *studio) watchJob(ctx context.Context, name string) *history[*v1alpha1.GenerationJob] {
	GinkgoHelper()
	return watchHistory(ctx, &v1alpha1.GenerationJobList{}, s.namespace, name, func(j *v1alpha1.GenerationJob) string {
		return fmt.Sprintf("%s(%d)", j.Status.Phase, j.Status.Progress)
	})
}

// phases leaves the progress out of what watchJob saw, and repetitions.
func phases(seen []string) []string {
	var names []string
	for _, entry := range seen {
		name, _, _ := strings.Cut(entry, "(")
		if name != "" && (len(names) == 0 || names[len(names)-1] != name) {
			names = append(names, name)
		}
	}
	return names
}
