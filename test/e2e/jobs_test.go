// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// everyPhase is the way of a job that succeeds.
var everyPhase = []string{"Pending", "Initializing", "ModelLoading", "Generating", "Saving", "Succeeded"}

var _ = Describe("A job", func() {
	It("passes every phase in order, ModelLoading also when its model is loaded already", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		for _, name := range []string{"first", "second"} {
			watched := s.watchJob(ctx, name)
			s.submit(ctx, job(name))
			done := s.ended(ctx, name, v1alpha1.PhaseSucceeded)
			Eventually(watched.seen).Should(ContainElement("Succeeded(100)"))
			seen := watched.seen()
			AddReportEntry(name, strings.Join(seen, " "))
			Expect(phases(seen)).To(Equal(everyPhase))
			Expect(seen).To(ContainElements("Pending(0)", "Initializing(1)", "ModelLoading(5)", "Saving(95)", "Succeeded(100)"))
			Expect(done.Status.Conditions).To(And(
				haveCondition(v1alpha1.ConditionScheduled, metav1.ConditionTrue, v1alpha1.ReasonBound),
				haveCondition(v1alpha1.ConditionModelLoaded, metav1.ConditionTrue, v1alpha1.ReasonLoaded),
				haveCondition(v1alpha1.ConditionPipelineHealthy, metav1.ConditionTrue, v1alpha1.ReasonLoaded),
				haveCondition(v1alpha1.ConditionComplete, metav1.ConditionTrue, v1alpha1.ReasonSucceeded),
				haveCondition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded),
			))
			Expect(kstatusOf(done)).To(Equal(status.CurrentStatus))
		}
	}, SpecTimeout(2*time.Minute))

	It("shows progress that rises with the denoising steps and never falls", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		watched := s.watchJob(ctx, "slow")
		// Several seconds on any machine, so that the one report a second shows several values.
		images := int32(4)
		s.submit(ctx, job("slow", withSteps(1000), func(spec *v1alpha1.GenerationJobSpec) { spec.Images = &images }))
		done := s.ended(ctx, "slow", v1alpha1.PhaseSucceeded)
		Expect(done.Status.Step).To(BeEquivalentTo(4000))
		Expect(done.Status.Steps).To(BeEquivalentTo(4000))
		Eventually(watched.seen).Should(ContainElement("Succeeded(100)"))
		last, generating := -1, 0
		for _, entry := range watched.seen() {
			phase, rest, _ := strings.Cut(entry, "(")
			var progress int
			_, err := fmt.Sscanf(rest, "%d)", &progress)
			Expect(err).NotTo(HaveOccurred())
			Expect(progress).To(BeNumerically(">=", last), entry)
			last = progress
			if phase == "Generating" {
				generating++
			}
		}
		AddReportEntry("slow", strings.Join(watched.seen(), " "))
		Expect(generating).To(BeNumerically(">=", 3))
	}, SpecTimeout(2*time.Minute))

	It("swaps the model: the loaded one is gone before the other one is loaded", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.addModel(ctx, "other")
		s.openPool(ctx, 1)
		s.readyRunner(ctx, "default-0")
		watched := watchHistory(ctx, &v1alpha1.RunnerList{}, s.namespace, "default-0", func(r *v1alpha1.Runner) string {
			if r.Status.Model == nil {
				return "none"
			}
			return r.Status.Model.Name
		})
		for i, model := range []string{"tiny", "other", "tiny"} {
			name := fmt.Sprintf("job-%d", i)
			s.submit(ctx, job(name, withModel(model)))
			s.ended(ctx, name, v1alpha1.PhaseSucceeded)
		}
		Eventually(watched.seen).Should(Equal([]string{"none", "tiny", "none", "other", "none", "tiny"}))
	}, SpecTimeout(2*time.Minute))

	It("gives the same bytes for the same manifest and seed, and another picture for another seed", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		jobs := []*v1alpha1.GenerationJob{job("once"), job("again"), job("other", withSeed(43))}
		pictures := make([][]byte, 0, len(jobs))
		for _, j := range jobs {
			s.submit(ctx, j)
			outputs := s.ended(ctx, j.Name, v1alpha1.PhaseSucceeded).Status.Outputs
			Expect(outputs).To(HaveLen(1))
			data := s.picture(outputs[0])
			sum := sha256.Sum256(data)
			Expect(outputs[0].SHA256).To(Equal(hex.EncodeToString(sum[:])))
			Expect(outputs[0].SizeBytes).To(BeEquivalentTo(len(data)))
			Expect(outputs[0].Path).To(Equal(fmt.Sprintf("%s/%s-%s/0.png", s.namespace, j.Name, j.UID[:8])))
			picture, err := png.Decode(bytes.NewReader(data))
			Expect(err).NotTo(HaveOccurred())
			Expect(picture.Bounds().Dx()).To(BeEquivalentTo(outputs[0].Width))
			Expect(picture.Bounds().Dy()).To(BeEquivalentTo(outputs[0].Height))
			pictures = append(pictures, data)
		}
		Expect(pictures[0]).To(Equal(pictures[1]))
		Expect(pictures[0]).NotTo(Equal(pictures[2]))
	}, SpecTimeout(2*time.Minute))

	It("without a seed gets one that is recorded, and pictures with seeds of their own", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		images := int32(3)
		s.submit(ctx, job("many", func(spec *v1alpha1.GenerationJobSpec) { spec.Seed, spec.Images = nil, &images }))
		done := s.ended(ctx, "many", v1alpha1.PhaseSucceeded)
		Expect(done.Spec.Seed).To(BeNil(), "the spec is the user's")
		Expect(done.Status.Seed).NotTo(BeNil())
		Expect(done.Status.Outputs).To(HaveLen(3))
		different := map[string]bool{}
		for i, output := range done.Status.Outputs {
			Expect(output.Index).To(BeEquivalentTo(i))
			Expect(output.Seed).To(Equal(*done.Status.Seed + int64(i)))
			different[output.SHA256] = true
		}
		Expect(different).To(HaveLen(3))

		By("drawing the second picture by itself, from its seed")
		s.submit(ctx, job("one", withSeed(*done.Status.Seed+1)))
		one := s.ended(ctx, "one", v1alpha1.PhaseSucceeded).Status.Outputs[0]
		Expect(samePixels(decode(s.picture(one)), decode(s.picture(done.Status.Outputs[1])))).To(BeNumerically(">=", 0.999))
	}, SpecTimeout(2*time.Minute))

	It("that asks for precomputeEmbedding is warned in three places and succeeds", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		printed := s.mustApply(ctx, `
apiVersion: generation.atelier.dev/v1alpha1
kind: GenerationJob
metadata: {name: precomputed}
spec:
  modelRef: {name: tiny}
  prompt: a red apple
  steps: 4
  precomputeEmbedding: true
`)
		Expect(printed).To(And(ContainSubstring("Warning: "), ContainSubstring(v1alpha1.PlaceholderEmbeddingWarning)))
		done := s.ended(ctx, "precomputed", v1alpha1.PhaseSucceeded)
		Expect(done.Status.Warnings).To(ConsistOf(v1alpha1.PlaceholderEmbeddingWarning))
		Eventually(func() (string, error) {
			return cluster.KubectlOutput(ctx, "events", "-n", s.namespace, "--for=generationjob/precomputed", "--types=Warning")
		}).Should(ContainSubstring(v1alpha1.PlaceholderEmbeddingWarning))
	}, SpecTimeout(2*time.Minute))

	It("draws the sample with the demo model", func(ctx SpecContext) {
		s := newStudio(ctx)
		copyModel("fluent-emoji", filepath.Join(s.models, "fluent-emoji"))
		s.openPool(ctx, 0)
		for _, file := range []string{"model.yaml", "generationjob.yaml"} {
			data, err := os.ReadFile(filepath.Join(root, "config", "samples", file))
			Expect(err).NotTo(HaveOccurred())
			s.mustApply(ctx, string(data))
		}
		done := s.ended(ctx, "red-apple", v1alpha1.PhaseSucceeded)
		data := s.picture(done.Status.Outputs[0])
		Expect(string(data)).To(ContainSubstring("a red apple\nSteps: "), "the parameters are in the file")
		_, err := png.Decode(bytes.NewReader(data))
		Expect(err).NotTo(HaveOccurred())
		AddReportEntry("time", done.Status.CompletionTime.Sub(done.Status.StartTime.Time).String())

		By("drawing what Python's diffusers draws from the same files")
		scale := 7.5
		s.submit(ctx, job("golden", withModel("fluent-emoji"), withSteps(20), withSeed(42),
			func(spec *v1alpha1.GenerationJobSpec) { spec.GuidanceScale = &scale }))
		golden, err := os.ReadFile(filepath.Join(root, "test", "testdata", "goldens", "fluent-emoji", "red-apple", "picture.png"))
		Expect(err).NotTo(HaveOccurred())
		drawn := s.picture(s.ended(ctx, "golden", v1alpha1.PhaseSucceeded).Status.Outputs[0])
		same := samePixels(decode(drawn), decode(golden))
		AddReportEntry("equal to diffusers", fmt.Sprintf("%.2f %% of the pixels", 100*same))
		Expect(same).To(BeNumerically(">=", 0.999))
	}, SpecTimeout(3*time.Minute))
})

var _ = Describe("A job's spec", func() {
	It("can't be changed", func(ctx SpecContext) {
		s := newStudio(ctx)
		manifest, err := yaml.Marshal(job("fixed"))
		Expect(err).NotTo(HaveOccurred())
		s.mustApply(ctx, asManifest(string(manifest)))
		_, err = s.apply(ctx, asManifest(strings.Replace(string(manifest), "red apple", "green apple", 1)))
		Expect(err).To(MatchError(ContainSubstring("can't be changed after creation; create another job")))
	}, SpecTimeout(time.Minute))

	DescribeTable("is refused with a message that names the field and what would be right",
		func(ctx SpecContext, field, value string, want ...string) {
			spec := map[string]string{"modelRef": "{name: tiny}", "prompt": "a red apple", field: value}
			var lines []string
			for name, v := range spec {
				if v != "" {
					lines = append(lines, name+": "+v)
				}
			}
			manifest := "apiVersion: generation.atelier.dev/v1alpha1\nkind: GenerationJob\nmetadata: {name: bad, namespace: default}\nspec:\n  " + strings.Join(lines, "\n  ")
			_, err := cluster.KubectlInput(ctx, manifest, "apply", "--dry-run=server", "-f", "-")
			for _, part := range append(want, field) {
				Expect(err).To(MatchError(ContainSubstring(part)))
			}
		},
		Entry("prompt is missing", "prompt", "", "Required value"),
		Entry("prompt is empty", "prompt", `""`, "at least 1 chars"),
		Entry("model is missing", "modelRef", "", "Required value"),
		Entry("model has no object's name", "modelRef", "{name: Tiny Model}", "lower-case letters, digits"),
		Entry("steps of 0", "steps", "0", "greater than or equal to 1"),
		Entry("too many steps", "steps", "1001", "less than or equal to 1000"),
		Entry("negative seed", "seed", "-1", "greater than or equal to 0"),
		Entry("width that no model can draw", "width", "100", "multiple of 8"),
		Entry("unknown scheduler", "scheduler", "Magic", "supported values", "EulerDiscreteScheduler"),
		Entry("too many pictures", "images", "17", "less than or equal to 16"),
		Entry("output outside of its volume", "output", "{directory: ../secrets}", "relative path without empty, '.' or '..' segments"),
		Entry("output at the root", "output", "{directory: /etc}", "relative path"),
		Entry("guidance below 0", "guidanceScale", "-1", "greater than or equal to 0"),
		Entry("unknown field", "promt", "a red apple", "unknown field"),
	)
})

// asManifest adds what a typed object leaves out.
func asManifest(object string) string {
	return "apiVersion: generation.atelier.dev/v1alpha1\nkind: GenerationJob\n" + object
}

// kstatusOf is what GitOps tools say of a job.
func kstatusOf(j *v1alpha1.GenerationJob) status.Status {
	GinkgoHelper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(j)
	Expect(err).NotTo(HaveOccurred())
	result, err := status.Compute(&unstructured.Unstructured{Object: object})
	Expect(err).NotTo(HaveOccurred())
	return result.Status
}

// decode decodes a picture, without its metadata.
func decode(data []byte) image.Image {
	GinkgoHelper()
	picture, err := png.Decode(bytes.NewReader(data))
	Expect(err).NotTo(HaveOccurred())
	return picture
}

// samePixels is the share of pixels of which no channel differs by more than 1 of 255.
func samePixels(a, b image.Image) float64 {
	GinkgoHelper()
	Expect(a.Bounds()).To(Equal(b.Bounds()))
	same := 0
	for y := a.Bounds().Min.Y; y < a.Bounds().Max.Y; y++ {
		for x := a.Bounds().Min.X; x < a.Bounds().Max.X; x++ {
			c, d := channels(a.At(x, y)), channels(b.At(x, y))
			if max(abs(c[0]-d[0]), abs(c[1]-d[1]), abs(c[2]-d[2])) <= 1 {
				same++
			}
		}
	}
	return float64(same) / float64(a.Bounds().Dx()*a.Bounds().Dy())
}

func channels(c color.Color) [3]int {
	r, g, b, _ := c.RGBA()
	return [3]int{int(r >> 8), int(g >> 8), int(b >> 8)}
}

func abs(n int) int { return max(n, -n) }
