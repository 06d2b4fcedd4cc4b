// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// sentinel is in every prompt, and nowhere else.
const sentinel = "zanzibarquince"

// confide puts a text into every prompt that a job can have, whatever is added to the API:
// each string whose field ends in Prompt.
func confide(spec *v1alpha1.GenerationJobSpec, text string) (fields []string) {
	value := reflect.ValueOf(spec).Elem()
	for i := range value.NumField() {
		name := value.Type().Field(i).Name
		switch field := value.Field(i); {
		case !strings.HasSuffix(name, "Prompt"):
			continue
		case field.Kind() == reflect.String:
			field.SetString(text)
		case field.Type() == reflect.TypeFor[*string]():
			field.Set(reflect.ValueOf(&text))
		default:
			continue
		}
		fields = append(fields, name)
	}
	return fields
}

func withPrompts(text string) func(*v1alpha1.GenerationJobSpec) {
	return func(spec *v1alpha1.GenerationJobSpec) { confide(spec, text) }
}

// managerVerbosely has the manager log all that it can, until the spec ends.
func managerVerbosely(ctx context.Context) {
	GinkgoHelper()
	key := client.ObjectKey{Namespace: "atelier-system", Name: "atelier-manager"}
	var before appsv1.Deployment
	Expect(api.Get(ctx, key, &before)).To(Succeed())
	setArgs := func(ctx context.Context, args []string) {
		GinkgoHelper()
		var now appsv1.Deployment
		Expect(api.Get(ctx, key, &now)).To(Succeed())
		patch := client.MergeFrom(now.DeepCopy())
		now.Spec.Template.Spec.Containers[0].Args = args
		Expect(api.Patch(ctx, &now, patch)).To(Succeed())
		_, err := cluster.KubectlOutput(ctx, "rollout", "status", "-n", key.Namespace, "deployment/"+key.Name, "--timeout=1m")
		Expect(err).NotTo(HaveOccurred())
		Eventually(managerPods).WithArguments(ctx).Should(HaveLen(1))
	}
	args := before.Spec.Template.Spec.Containers[0].Args
	setArgs(ctx, append(slices.Clip(args), "--zap-log-level=127"))
	DeferCleanup(func(ctx SpecContext) { setArgs(ctx, args) })
}

var _ = Describe("A prompt", func() {
	It("is in no log, event or metric, whatever becomes of the job, and no metric names a job", func(ctx SpecContext) {
		managerVerbosely(ctx)
		s := newStudio(ctx)
		s.addModel(ctx, "broken")
		Expect(os.WriteFile(filepath.Join(s.models, "broken", "unet", "model.onnx"), []byte("not a model"), 0o600)).To(Succeed())
		s.openPool(ctx, 0)
		submitted := map[string]*v1alpha1.GenerationJob{}
		submit := func(name string, change ...func(*v1alpha1.GenerationJobSpec)) {
			submitted[name] = s.submit(ctx, job(name, change...))
		}
		Expect(confide(&v1alpha1.GenerationJobSpec{}, "")).To(ContainElements("Prompt", "NegativePrompt"))

		By("a job that succeeds, with warnings about its prompts")
		submit("lucky-job", withPrompts("("+sentinel+" swims, "+sentinel), withPrecomputedEmbedding)
		lucky := s.ended(ctx, "lucky-job", v1alpha1.PhaseSucceeded)
		Expect(lucky.Status.Warnings).To(ContainElement(ContainSubstring("parenthesis")))

		By("one whose prompt the model can't do: its own status may say what is wrong with it, nothing else may")
		submit("wrong-job", withPrompts(fmt.Sprintf(`("a cat", "a dog").blend(1, %s)`, sentinel)))
		wrong := s.ended(ctx, "wrong-job", v1alpha1.PhaseFailed)
		Expect(messageOf(wrong.Status.Conditions, v1alpha1.ConditionFailed)).To(ContainSubstring(sentinel))

		By("one whose model is broken")
		submit("doomed-job", withModel("broken"), withPrompts(sentinel))
		s.ended(ctx, "doomed-job", v1alpha1.PhaseFailed)

		By("one whose runner is killed, and that is then cancelled while it draws")
		submit("endless-job", long, withPrompts(sentinel))
		s.generating(ctx, "endless-job")
		Expect(cluster.KillContainer(s.firstPod(ctx), "runner")).To(Succeed())
		Eventually(func() int32 { return s.job(ctx, "endless-job").Status.Attempt }).Should(BeEquivalentTo(2))
		s.generating(ctx, "endless-job")
		s.wish(ctx, "endless-job", `{"cancel":true}`)
		Eventually(func() v1alpha1.Phase { return s.job(ctx, "endless-job").Status.Phase }).Should(Equal(v1alpha1.PhaseCancelled))

		texts := s.observed(ctx, len(submitted))
		for place, text := range texts {
			Expect(text).NotTo(BeEmpty(), place)
			if at := strings.Index(text, sentinel); at >= 0 {
				Fail(fmt.Sprintf("the %s have a prompt: …%s…", place, text[max(0, at-600):min(len(text), at+100)]))
			}
		}
		Expect(texts["manager's logs"]).To(ContainSubstring(`"level":"debug"`), "the manager was to say all that it can")
		for _, place := range []string{"manager's metrics", "runner's metrics"} {
			Expect(texts[place]).To(ContainSubstring("atelier_"), place)
			for name, j := range submitted {
				Expect(texts[place]).NotTo(Or(ContainSubstring(name), ContainSubstring(string(j.UID))), "%s name a job", place)
			}
		}
	}, SpecTimeout(3*time.Minute), Serial)
})

// observed is all that can be seen of jobs beside the objects themselves, once each job's
// end was told in an Event.
func (s *studio) observed(ctx context.Context, jobs int) map[string]string {
	GinkgoHelper()
	var events eventsv1.EventList
	Eventually(func(g Gomega) {
		g.Expect(api.List(ctx, &events, client.InNamespace(s.namespace))).To(Succeed())
		ends := 0
		for _, e := range events.Items {
			if e.Action == "Finish" {
				ends++
			}
		}
		g.Expect(ends).To(Equal(jobs))
	}).Should(Succeed())
	told, err := yaml.Marshal(events)
	Expect(err).NotTo(HaveOccurred())
	manager, runner := managerPod(ctx), s.firstPod(ctx)
	logs := func(args ...string) string {
		GinkgoHelper()
		out, err := cluster.KubectlOutput(ctx, append([]string{"logs"}, args...)...)
		Expect(err).NotTo(HaveOccurred())
		return out
	}
	return map[string]string{
		"events":               string(told),
		"manager's logs":       logs("-n", manager.Namespace, manager.Name),
		"runner's logs":        logs("-n", s.namespace, runner.Name),
		"killed runner's logs": logs("-n", s.namespace, runner.Name, "--previous"),
		"manager's metrics":    s.managerMetrics(ctx).text,
		"runner's metrics":     ask(ctx, "http", runner, runnerPort, "", "GET", "/metrics").text,
	}
}

func withPrecomputedEmbedding(spec *v1alpha1.GenerationJobSpec) { spec.PrecomputeEmbedding = new(true) }
