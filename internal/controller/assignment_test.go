// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// TestNewAssignment resolves parameters: the job's, else the model's, else the API's.
func TestNewAssignment(t *testing.T) {
	everything := v1alpha1.GenerationJobSpec{
		ModelRef: v1alpha1.ObjectReference{Name: "emoji"}, Prompt: "a red apple", NegativePrompt: new("blurry"),
		PromptSyntax: new(v1alpha1.PromptSyntaxCompel), ClipSkip: ptr.To[int32](0),
		Image: &v1alpha1.ImageSource{Path: "album/0.png"}, Strength: new(0.5),
		Steps: ptr.To[int32](4), GuidanceScale: new(3.0), GuidanceRescale: new(0.0), GeneratorDevice: new(v1alpha1.GeneratorCUDA),
		Width: ptr.To[int32](64), Height: ptr.To[int32](128), Scheduler: new(v1alpha1.SchedulerDDIM), Eta: new(0.3),
		Images: ptr.To[int32](2), Output: &v1alpha1.OutputSpec{Directory: new("album"), Format: new(v1alpha1.ImageFormatWebP)},
	}
	defaults := v1alpha1.ModelDefaults{
		PromptSyntax: new(v1alpha1.PromptSyntaxPlain), ClipSkip: ptr.To[int32](1), Steps: ptr.To[int32](20),
		GuidanceScale: new(5.0), GuidanceRescale: new(0.7), Width: ptr.To[int32](512), Height: ptr.To[int32](768),
		Scheduler: new(v1alpha1.SchedulerUniPCMultistep),
	}
	for name, c := range map[string]struct {
		change   func(*v1alpha1.GenerationJobSpec)
		defaults *v1alpha1.ModelDefaults
		want     v1alpha1.Assignment
	}{
		"nothing said": {
			want: v1alpha1.Assignment{
				SaveSeconds:  600,
				PromptSyntax: v1alpha1.PromptSyntaxCompel, Steps: 30, GuidanceScale: 7.5, GeneratorDevice: v1alpha1.GeneratorCPU,
				Images: 1, OutputDirectory: "studio/apple-01234567", OutputFormat: v1alpha1.ImageFormatPNG,
			},
		},
		"the model's defaults": {
			defaults: &defaults,
			want: v1alpha1.Assignment{
				SaveSeconds:  600,
				PromptSyntax: v1alpha1.PromptSyntaxPlain, ClipSkip: 1, Steps: 20, GuidanceScale: 5, GuidanceRescale: 0.7,
				GeneratorDevice: v1alpha1.GeneratorCPU, Width: 512, Height: 768, Scheduler: v1alpha1.SchedulerUniPCMultistep,
				Images: 1, OutputDirectory: "studio/apple-01234567", OutputFormat: v1alpha1.ImageFormatPNG,
			},
		},
		"the job's own, zeros too": {
			change:   func(spec *v1alpha1.GenerationJobSpec) { *spec = everything },
			defaults: &defaults,
			want: v1alpha1.Assignment{
				SaveSeconds:    600,
				NegativePrompt: "blurry", PromptSyntax: v1alpha1.PromptSyntaxCompel, Image: everything.Image, Strength: 0.5,
				Steps: 4, GuidanceScale: 3, GeneratorDevice: v1alpha1.GeneratorCUDA, Width: 64, Height: 128,
				Scheduler: v1alpha1.SchedulerDDIM, Eta: 0.3, Images: 2, OutputDirectory: "studio/album", OutputFormat: v1alpha1.ImageFormatWebP,
			},
		},
		"a path for each picture": {
			change: func(spec *v1alpha1.GenerationJobSpec) {
				spec.Images, spec.Output = ptr.To[int32](2), &v1alpha1.OutputSpec{Path: new("album/{name}-{seed}")}
			},
			want: v1alpha1.Assignment{
				SaveSeconds:  600,
				PromptSyntax: v1alpha1.PromptSyntaxCompel, Steps: 30, GuidanceScale: 7.5, GeneratorDevice: v1alpha1.GeneratorCPU,
				Images: 2, OutputDirectory: "studio/apple-01234567", OutputPaths: []string{"studio/album/apple-42", "studio/album/apple-43"},
				OutputFormat: v1alpha1.ImageFormatPNG,
			},
		},
		"a picture's size comes before the model's": {
			change:   func(spec *v1alpha1.GenerationJobSpec) { spec.Image = everything.Image },
			defaults: &v1alpha1.ModelDefaults{Width: ptr.To[int32](512), Height: ptr.To[int32](768)},
			want: v1alpha1.Assignment{
				SaveSeconds:  600,
				PromptSyntax: v1alpha1.PromptSyntaxCompel, Image: everything.Image, Strength: v1alpha1.DefaultStrength, Steps: 30,
				GuidanceScale: 7.5, GeneratorDevice: v1alpha1.GeneratorCPU,
				Images: 1, OutputDirectory: "studio/apple-01234567", OutputFormat: v1alpha1.ImageFormatPNG,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			job := newJob()
			job.Status.Seed = ptr.To[int64](42)
			if c.change != nil {
				c.change(&job.Spec)
			}
			c.want.UID, c.want.JobNamespace, c.want.JobName, c.want.Attempt, c.want.Prompt, c.want.Seed = job.UID, job.Namespace, job.Name, 3, "a red apple", 42
			got := newAssignment(job, &v1alpha1.Model{Spec: v1alpha1.ModelSpec{Defaults: c.defaults}}, poolWith(""), 3)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}
