// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"bytes"
	"context"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// beginWith saves a picture in the outputs volume.
func (c *cluster) beginWith(path string) {
	c.Helper()
	file, err := artifact.Encode(artifact.WebP, image.NewNRGBA(image.Rect(0, 0, 16, 24)), artifact.Parameters{})
	c.Expect(err).NotTo(HaveOccurred())
	_, err = artifact.Save(c.outputs, path, file)
	c.Expect(err).NotTo(HaveOccurred())
}

// TestEveryParameterReachesThePipeline fills in an assignment and looks at the request.
func TestEveryParameterReachesThePipeline(t *testing.T) {
	c := newCluster(t)
	c.beginWith("album/0.webp")
	a := assignment("a", 1, "cat")
	a.PromptSyntax, a.ClipSkip, a.Image, a.Strength = v1alpha1.PromptSyntaxPlain, 2, &v1alpha1.ImageSource{Path: "album/0.webp"}, 0.6
	a.GuidanceRescale, a.Eta, a.GeneratorDevice, a.Scheduler = 0.7, 0.5, v1alpha1.GeneratorCUDA, v1alpha1.SchedulerDDIM
	a.Width, a.Height, a.Images = 32, 64, 2
	c.runner(a)
	requests := make(chan pipeline.Request, 1)
	c.start(withPipeline(&fakePipeline{onGenerate: func(_ context.Context, r pipeline.Request) error {
		requests <- r
		return nil
	}}))
	report := c.awaitPhase("a", v1alpha1.PhaseSucceeded)

	request := <-requests
	c.Expect(request.Image).NotTo(BeNil())
	c.Expect(request.Image.Bounds()).To(Equal(image.Rect(0, 0, 16, 24)))
	request.Image = nil
	c.Expect(request).To(Equal(pipeline.Request{
		Prompt: secretPrompt, NegativePrompt: secretPrompt, PromptSyntax: pipeline.PromptPlain, ClipSkip: 2, Steps: 4,
		GuidanceScale: 7.5, GuidanceRescale: 0.7, Eta: 0.5, Seed: 7, Generator: diffusion.GeneratorCUDA,
		Width: 32, Height: 64, Scheduler: "DDIMScheduler", Images: 2, Strength: 0.6,
	}))
	c.Expect(report.Outputs).To(HaveEach(HaveField("GeneratorDevice", v1alpha1.GeneratorCUDA)))
}

// TestPicturesThatCannotBeReadAreTheRequestsFault and trying again would not help.
func TestPicturesThatCannotBeReadAreTheRequestsFault(t *testing.T) {
	c := newCluster(t)
	c.Expect(os.WriteFile(filepath.Join(c.outputs, "notes.png"), []byte("not a picture"), 0o600)).To(Succeed())
	missing, text := assignment("a", 1, "cat"), assignment("b", 1, "cat")
	missing.Image, text.Image = &v1alpha1.ImageSource{Path: "album/missing.png"}, &v1alpha1.ImageSource{Path: "notes.png"}
	c.runner(missing, text)
	c.start()
	c.Expect(*c.awaitPhase("a", v1alpha1.PhaseFailed)).To(haveError(v1alpha1.ReasonInvalidRequest, false,
		Equal("image.path: album/missing.png: is not there")))
	c.Expect(*c.awaitPhase("b", v1alpha1.PhaseFailed)).To(haveError(v1alpha1.ReasonInvalidRequest, false,
		Equal("image.path: notes.png: must be a PNG, JPEG or WebP picture")))
}

// TestStepsAreCallsOfTheNetwork has a scheduler that calls it more often than it takes steps.
func TestStepsAreCallsOfTheNetwork(t *testing.T) {
	c := newCluster(t)
	a := assignment("a", 1, "cat")
	a.Images = 2
	c.runner(a)
	steps := make(gate)
	c.start(withPipeline(&fakePipeline{extraCalls: 1, onStep: steps.wait}))
	c.Eventually(func() *v1alpha1.AssignmentReport { return c.report("a") }).Should(And(
		HaveField("Phase", v1alpha1.PhaseGenerating), HaveField("Step", BeZero()), HaveField("Steps", BeEquivalentTo(10))))
	close(steps)
	c.Expect(*c.awaitPhase("a", v1alpha1.PhaseSucceeded)).To(And(HaveField("Step", BeEquivalentTo(10)), HaveField("Steps", BeEquivalentTo(10))))
}

func TestFilesAreOfTheFormatThatWasAskedFor(t *testing.T) {
	for format, want := range map[v1alpha1.ImageFormat]struct{ path, begins string }{
		v1alpha1.ImageFormatPNG:  {"out/a/0.png", "\x89PNG"},
		v1alpha1.ImageFormatJPEG: {"out/a/0.jpg", "\xff\xd8\xff"},
		v1alpha1.ImageFormatWebP: {"out/a/0.webp", "RIFF"},
	} {
		t.Run(string(format), func(t *testing.T) {
			c := newCluster(t)
			a := assignment("a", 1, "cat")
			a.OutputFormat = format
			c.runner(a)
			c.start()
			report := c.awaitPhase("a", v1alpha1.PhaseSucceeded)
			c.Expect(report.Outputs[0].Path).To(Equal(want.path))
			data, err := os.ReadFile(filepath.Join(c.outputs, want.path))
			c.Expect(err).NotTo(HaveOccurred())
			c.Expect(bytes.HasPrefix(data, []byte(want.begins))).To(BeTrue(), "%s begins with %x", want.path, data[:8])
		})
	}
}

// TestFilesHaveThePathsOfTheAssignment and the extension of their format.
func TestFilesHaveThePathsOfTheAssignment(t *testing.T) {
	c := newCluster(t)
	a := assignment("a", 1, "cat")
	a.Images, a.OutputPaths = 2, []string{"studio/cat-7", "studio/" + strings.Repeat("c", 250)}
	a.OutputFormat = v1alpha1.ImageFormatWebP
	c.runner(a)
	c.start()
	outputs := c.awaitPhase("a", v1alpha1.PhaseSucceeded).Outputs
	c.Expect(outputs).To(HaveExactElements(HaveField("Path", a.OutputPaths[0]+".webp"), HaveField("Path", a.OutputPaths[1]+".webp")))
	for _, output := range outputs {
		c.Expect(filepath.Join(c.outputs, output.Path)).To(BeARegularFile())
	}
}

// schema is as much of a CRD as leads to the fields of a spec.
type schema struct {
	Enum       []string
	Properties map[string]schema
}

// specOf reads the schema of a kind's spec from config/crd.
func specOf(t *testing.T, plural string) schema {
	t.Helper()
	g := NewWithT(t)
	data, err := os.ReadFile("../../config/crd/bases/generation.atelier.dev_" + plural + ".yaml")
	g.Expect(err).NotTo(HaveOccurred())
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct{ OpenAPIV3Schema schema }
			}
		}
	}
	g.Expect(yaml.Unmarshal(data, &crd)).To(Succeed())
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
}

// TestTheAPINamesWhatTheRunnerHas compares the values that the API takes with those of the
// packages that do the work: the runner passes them on as they are.
func TestTheAPINamesWhatTheRunnerHas(t *testing.T) {
	g := NewWithT(t)
	job := specOf(t, "generationjobs").Properties
	g.Expect(job["promptSyntax"].Enum).To(ConsistOf(string(pipeline.PromptCompel), string(pipeline.PromptPlain)))
	g.Expect(job["generatorDevice"].Enum).To(ConsistOf(string(diffusion.GeneratorCPU), string(diffusion.GeneratorCUDA)))
	g.Expect(job["output"].Properties["format"].Enum).To(ConsistOf(string(artifact.PNG), string(artifact.JPEG), string(artifact.WebP)))
	for _, plural := range []string{"generationjobs", "models"} {
		fields := specOf(t, plural).Properties
		if plural == "models" {
			fields = fields["defaults"].Properties
		}
		g.Expect(fields["scheduler"].Enum).To(ConsistOf(diffusion.Classes()), plural)
	}
}
