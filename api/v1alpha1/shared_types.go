// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"fmt"
	"time"
)

// ObjectReference names an object of a known kind in the same namespace.
type ObjectReference struct {
	// Name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="must be the name of an object: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"
	Name string `json:"name"`
}

// Duration is a span of time as Go writes it, such as 10m or 1h30m. It is kept as text: where
// one is stored that can't be read, as from before the schema had its rule, the object with it
// can be read all the same, and with it all others of its kind.
type Duration string

// Parse returns the duration, or an error that says what would be one.
func (d Duration) Parse() (time.Duration, error) {
	parsed, err := time.ParseDuration(string(d))
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration, such as 10m", string(d))
	}
	return parsed, nil
}

// PoolReference names a RunnerPool.
type PoolReference struct {
	// Name of the pool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="must be the name of an object: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"
	Name string `json:"name"`

	// Namespace of the pool, which must allow jobs from the job's namespace. Without it
	// the job's own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be the name of a namespace: lower-case letters, digits and '-', beginning and ending with a letter or digit"
	Namespace *string `json:"namespace,omitempty"`
}

// Scheduler is the class name of a diffusers noise scheduler.
// +kubebuilder:validation:Enum=DDIMScheduler;DDPMScheduler;DPMSolverMultistepScheduler;DPMSolverSinglestepScheduler;EulerAncestralDiscreteScheduler;EulerDiscreteScheduler;FlowMatchEulerDiscreteScheduler;HeunDiscreteScheduler;LCMScheduler;LMSDiscreteScheduler;PNDMScheduler;UniPCMultistepScheduler
type Scheduler string

// The schedulers the runner implements.
const (
	SchedulerDDIM                   Scheduler = "DDIMScheduler"
	SchedulerDDPM                   Scheduler = "DDPMScheduler"
	SchedulerDPMSolverMultistep     Scheduler = "DPMSolverMultistepScheduler"
	SchedulerDPMSolverSinglestep    Scheduler = "DPMSolverSinglestepScheduler"
	SchedulerEulerAncestralDiscrete Scheduler = "EulerAncestralDiscreteScheduler"
	SchedulerEulerDiscrete          Scheduler = "EulerDiscreteScheduler"
	SchedulerFlowMatchEulerDiscrete Scheduler = "FlowMatchEulerDiscreteScheduler"
	SchedulerHeunDiscrete           Scheduler = "HeunDiscreteScheduler"
	SchedulerLCM                    Scheduler = "LCMScheduler"
	SchedulerLMSDiscrete            Scheduler = "LMSDiscreteScheduler"
	SchedulerPNDM                   Scheduler = "PNDMScheduler"
	SchedulerUniPCMultistep         Scheduler = "UniPCMultistepScheduler"
)

// PromptSyntax is a way to read prompts.
// +kubebuilder:validation:Enum=Compel;Plain
type PromptSyntax string

// The ways to read prompts.
const (
	// PromptSyntaxCompel takes weights, blends and conjunctions out of the prompt, as the
	// Python library compel does.
	PromptSyntaxCompel PromptSyntax = "Compel"
	// PromptSyntaxPlain takes every character for itself, as diffusers does.
	PromptSyntaxPlain PromptSyntax = "Plain"
)

// GeneratorDevice is the device of a torch.Generator: each draws other numbers from the
// same seed, on whatever device the network runs.
// +kubebuilder:validation:Enum=CPU;CUDA
type GeneratorDevice string

// The devices whose random numbers the runner draws.
const (
	GeneratorCPU  GeneratorDevice = "CPU"
	GeneratorCUDA GeneratorDevice = "CUDA"
)

// ImageFormat is the encoding of an output picture.
// +kubebuilder:validation:Enum=PNG;JPEG;WebP
type ImageFormat string

// The picture encodings the runner writes, each with the parameters of the generation inside.
const (
	// ImageFormatPNG loses nothing.
	ImageFormatPNG ImageFormat = "PNG"
	// ImageFormatJPEG has quality 95.
	ImageFormatJPEG ImageFormat = "JPEG"
	// ImageFormatWebP loses nothing either.
	ImageFormatWebP ImageFormat = "WebP"
)

// ImageSource says where a picture is that a generation begins with.
type ImageSource struct {
	// Path of a PNG, JPEG or WebP file, relative to the pool's outputs volume, such as
	// the path of an output of another job. It has at most 64 MiB and 4096x4096 pixels.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && self.split('/').all(s, s != '' && s != '.' && s != '..')",message="must be a relative path without empty, '.' or '..' segments, such as album/cats/0.png"
	Path string `json:"path"`
}

// Phase sums up where a job or an assignment stands. It is derived from conditions and
// reports and is never an input to a decision. New values may be added.
type Phase string

// The phases of a job, in the order in which a job passes them.
const (
	// PhasePending means queued; the Scheduled condition says why it waits.
	PhasePending Phase = "Pending"
	// PhaseInitializing means that a runner has taken the job.
	PhaseInitializing Phase = "Initializing"
	// PhaseModelLoading is reported for every job, also when the model is loaded already.
	PhaseModelLoading Phase = "ModelLoading"
	// PhaseGenerating covers prompt encoding and every denoising step.
	PhaseGenerating Phase = "Generating"
	// PhaseSaving means that pictures are being written.
	PhaseSaving Phase = "Saving"
	// PhaseSucceeded is terminal: outputs are committed.
	PhaseSucceeded Phase = "Succeeded"
	// PhaseFailed is terminal: the Failed condition says why.
	PhaseFailed Phase = "Failed"
	// PhaseCancelled is terminal: spec.cancel ended the job.
	PhaseCancelled Phase = "Cancelled"
	// PhaseSuspended means parked by spec.suspend, with no runner.
	PhaseSuspended Phase = "Suspended"
)

// Progress in percent at the entry of each phase. Generating moves from
// ProgressGenerating to ProgressGenerated with every denoising step.
const (
	ProgressPending      int32 = 0
	ProgressInitializing int32 = 1
	ProgressModelLoading int32 = 5
	ProgressGenerating   int32 = 10
	ProgressGenerated    int32 = 90
	ProgressSaving       int32 = 95
	ProgressSucceeded    int32 = 100
)

// Output is one picture that was written.
//
// +structType=atomic
type Output struct {
	// Index of the picture in its job, from 0.
	// +required
	Index int32 `json:"index"`

	// Seed that made this picture: the job's seed plus the index.
	// +required
	Seed int64 `json:"seed"`

	// GeneratorDevice is whose random numbers the seed drew. The noise is float32 and is
	// drawn for each picture alone, so that this and the seed tell it.
	// +optional
	GeneratorDevice GeneratorDevice `json:"generatorDevice,omitempty"`

	// Path of the file, relative to the pool's outputs volume or to the store's URL.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path"`

	// URL of the object, where the picture was written to a bucket.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url,omitempty"`

	// SHA256 of the file, in hexadecimal.
	// +required
	// +kubebuilder:validation:MaxLength=64
	SHA256 string `json:"sha256"`

	// SizeBytes is the size of the file.
	// +required
	SizeBytes int64 `json:"sizeBytes"`

	// Width of the picture in pixels.
	// +required
	Width int32 `json:"width"`

	// Height of the picture in pixels.
	// +required
	Height int32 `json:"height"`
}
