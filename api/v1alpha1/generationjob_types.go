// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Values that apply where a job and its model both leave a field out. They are never
// written into a spec.
const (
	// DefaultPoolName is the pool of a job that names none.
	DefaultPoolName = "default"
	// DefaultSteps is the number of denoising steps.
	DefaultSteps int32 = 30
	// DefaultGuidanceScale is the classifier-free guidance scale.
	DefaultGuidanceScale float64 = 7.5
	// DefaultStrength is how much of a picture to begin with is given up.
	DefaultStrength float64 = 0.8
	// DefaultImages is the number of pictures.
	DefaultImages int32 = 1
	// DefaultBackoffLimit is how many failed attempts are retried.
	DefaultBackoffLimit int32 = 3
)

// PlaceholderEmbeddingWarning is what a user is told who asks for precomputeEmbedding.
const PlaceholderEmbeddingWarning = "Placeholder: embedding pre-computation not implemented"

// GenerationJobSpec is what a user asks for. Only suspend and cancel can be changed after
// creation. Where a field is left out, the model's defaults apply, then those stated here.
//
// Every other field has a rule here that keeps it as it is: a rule on the field itself
// would not see that it was added or removed.
//
// +kubebuilder:validation:XValidation:rule="self.modelRef == oldSelf.modelRef",message="can't be changed after creation; create another job",fieldPath=".modelRef"
// +kubebuilder:validation:XValidation:rule="has(self.poolRef) ? has(oldSelf.poolRef) && self.poolRef == oldSelf.poolRef : !has(oldSelf.poolRef)",message="can't be changed after creation; create another job",fieldPath=".poolRef"
// +kubebuilder:validation:XValidation:rule="self.prompt == oldSelf.prompt",message="can't be changed after creation; create another job",fieldPath=".prompt"
// +kubebuilder:validation:XValidation:rule="has(self.negativePrompt) ? has(oldSelf.negativePrompt) && self.negativePrompt == oldSelf.negativePrompt : !has(oldSelf.negativePrompt)",message="can't be changed after creation; create another job",fieldPath=".negativePrompt"
// +kubebuilder:validation:XValidation:rule="has(self.steps) ? has(oldSelf.steps) && self.steps == oldSelf.steps : !has(oldSelf.steps)",message="can't be changed after creation; create another job",fieldPath=".steps"
// +kubebuilder:validation:XValidation:rule="has(self.guidanceScale) ? has(oldSelf.guidanceScale) && self.guidanceScale == oldSelf.guidanceScale : !has(oldSelf.guidanceScale)",message="can't be changed after creation; create another job",fieldPath=".guidanceScale"
// +kubebuilder:validation:XValidation:rule="has(self.seed) ? has(oldSelf.seed) && self.seed == oldSelf.seed : !has(oldSelf.seed)",message="can't be changed after creation; create another job",fieldPath=".seed"
// +kubebuilder:validation:XValidation:rule="has(self.width) ? has(oldSelf.width) && self.width == oldSelf.width : !has(oldSelf.width)",message="can't be changed after creation; create another job",fieldPath=".width"
// +kubebuilder:validation:XValidation:rule="has(self.height) ? has(oldSelf.height) && self.height == oldSelf.height : !has(oldSelf.height)",message="can't be changed after creation; create another job",fieldPath=".height"
// +kubebuilder:validation:XValidation:rule="has(self.scheduler) ? has(oldSelf.scheduler) && self.scheduler == oldSelf.scheduler : !has(oldSelf.scheduler)",message="can't be changed after creation; create another job",fieldPath=".scheduler"
// +kubebuilder:validation:XValidation:rule="has(self.images) ? has(oldSelf.images) && self.images == oldSelf.images : !has(oldSelf.images)",message="can't be changed after creation; create another job",fieldPath=".images"
// +kubebuilder:validation:XValidation:rule="has(self.output) ? has(oldSelf.output) && self.output == oldSelf.output : !has(oldSelf.output)",message="can't be changed after creation; create another job",fieldPath=".output"
// +kubebuilder:validation:XValidation:rule="has(self.precomputeEmbedding) ? has(oldSelf.precomputeEmbedding) && self.precomputeEmbedding == oldSelf.precomputeEmbedding : !has(oldSelf.precomputeEmbedding)",message="can't be changed after creation; create another job",fieldPath=".precomputeEmbedding"
// +kubebuilder:validation:XValidation:rule="has(self.backoffLimit) ? has(oldSelf.backoffLimit) && self.backoffLimit == oldSelf.backoffLimit : !has(oldSelf.backoffLimit)",message="can't be changed after creation; create another job",fieldPath=".backoffLimit"
// +kubebuilder:validation:XValidation:rule="has(self.priorityClassName) ? has(oldSelf.priorityClassName) && self.priorityClassName == oldSelf.priorityClassName : !has(oldSelf.priorityClassName)",message="can't be changed after creation; create another job",fieldPath=".priorityClassName"
// +kubebuilder:validation:XValidation:rule="has(self.activeDeadlineSeconds) ? has(oldSelf.activeDeadlineSeconds) && self.activeDeadlineSeconds == oldSelf.activeDeadlineSeconds : !has(oldSelf.activeDeadlineSeconds)",message="can't be changed after creation; create another job",fieldPath=".activeDeadlineSeconds"
// +kubebuilder:validation:XValidation:rule="has(self.stageDeadlines) ? has(oldSelf.stageDeadlines) && self.stageDeadlines == oldSelf.stageDeadlines : !has(oldSelf.stageDeadlines)",message="can't be changed after creation; create another job",fieldPath=".stageDeadlines"
// +kubebuilder:validation:XValidation:rule="has(self.ttlSecondsAfterFinished) ? has(oldSelf.ttlSecondsAfterFinished) && self.ttlSecondsAfterFinished == oldSelf.ttlSecondsAfterFinished : !has(oldSelf.ttlSecondsAfterFinished)",message="can't be changed after creation; create another job",fieldPath=".ttlSecondsAfterFinished"
// +kubebuilder:validation:XValidation:rule="has(self.promptSyntax) ? has(oldSelf.promptSyntax) && self.promptSyntax == oldSelf.promptSyntax : !has(oldSelf.promptSyntax)",message="can't be changed after creation; create another job",fieldPath=".promptSyntax"
// +kubebuilder:validation:XValidation:rule="has(self.clipSkip) ? has(oldSelf.clipSkip) && self.clipSkip == oldSelf.clipSkip : !has(oldSelf.clipSkip)",message="can't be changed after creation; create another job",fieldPath=".clipSkip"
// +kubebuilder:validation:XValidation:rule="has(self.image) ? has(oldSelf.image) && self.image == oldSelf.image : !has(oldSelf.image)",message="can't be changed after creation; create another job",fieldPath=".image"
// +kubebuilder:validation:XValidation:rule="has(self.strength) ? has(oldSelf.strength) && self.strength == oldSelf.strength : !has(oldSelf.strength)",message="can't be changed after creation; create another job",fieldPath=".strength"
// +kubebuilder:validation:XValidation:rule="has(self.guidanceRescale) ? has(oldSelf.guidanceRescale) && self.guidanceRescale == oldSelf.guidanceRescale : !has(oldSelf.guidanceRescale)",message="can't be changed after creation; create another job",fieldPath=".guidanceRescale"
// +kubebuilder:validation:XValidation:rule="has(self.generatorDevice) ? has(oldSelf.generatorDevice) && self.generatorDevice == oldSelf.generatorDevice : !has(oldSelf.generatorDevice)",message="can't be changed after creation; create another job",fieldPath=".generatorDevice"
// +kubebuilder:validation:XValidation:rule="has(self.eta) ? has(oldSelf.eta) && self.eta == oldSelf.eta : !has(oldSelf.eta)",message="can't be changed after creation; create another job",fieldPath=".eta"
// +kubebuilder:validation:XValidation:rule="!oldSelf.?cancel.orValue(false) || self.?cancel.orValue(false)",message="a cancelled job can't be resumed; create another job",fieldPath=".cancel"
// +kubebuilder:validation:XValidation:rule="!has(self.strength) || has(self.image)",fieldPath=".strength",message="says how much of image is given up: leave it out, or name an image"
// +kubebuilder:validation:XValidation:rule="self.?images.orValue(1) == 1 || !self.?output.path.hasValue() || self.output.path.contains('{index}') || self.output.path.contains('{seed}')",fieldPath=".output.path",message="must have {index} or {seed} where images is above 1, as each picture needs a path of its own"
type GenerationJobSpec struct {
	// ModelRef names the Model, in the job's namespace, that draws the pictures.
	// A job whose model does not exist waits for it.
	// +required
	ModelRef ObjectReference `json:"modelRef"`

	// PoolRef names the RunnerPool that runs the job. Without it the pool named "default"
	// in the job's namespace is used.
	// +optional
	PoolRef *PoolReference `json:"poolRef,omitempty"`

	// Prompt describes the picture.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8192
	Prompt string `json:"prompt"`

	// NegativePrompt describes what the picture should not show. It has an effect
	// only where guidanceScale is above 1.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	NegativePrompt *string `json:"negativePrompt,omitempty"`

	// PromptSyntax says how the prompts are read: Compel takes weights such as (word)1.3,
	// blends and conjunctions out of them, as the Python library compel does; Plain takes
	// every character for itself. Without it the model's default applies, then Compel.
	// +optional
	PromptSyntax *PromptSyntax `json:"promptSyntax,omitempty"`

	// ClipSkip is how many layers are left out at the end of the text encoder for the
	// prompt, as diffusers' clip_skip. Without it the model's default applies, then 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=12
	ClipSkip *int32 `json:"clipSkip,omitempty"`

	// Image is a picture to begin with, in place of noise alone (image-to-image). The
	// model must have a VAE encoder.
	// +optional
	Image *ImageSource `json:"image,omitempty"`

	// Strength says how much of image is given up: near 0 little changes, 1 leaves
	// nothing of it. Without it 0.8.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:ExclusiveMinimum=true
	// +kubebuilder:validation:Maximum=1
	Strength *float64 `json:"strength,omitempty"`

	// Steps is the number of denoising steps: more is slower and, up to a point,
	// better. Without it the model's default applies, then 30.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Steps *int32 `json:"steps,omitempty"`

	// GuidanceScale says how strongly the picture follows the prompt (classifier-free
	// guidance). 1 or less turns guidance off. Without it the model's default
	// applies, then 7.5.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	GuidanceScale *float64 `json:"guidanceScale,omitempty"`

	// GuidanceRescale says how far the contrast that guidance adds is taken back, as
	// diffusers' guidance_rescale. Without it the model's default applies, then 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	GuidanceRescale *float64 `json:"guidanceRescale,omitempty"`

	// Seed of the first picture; picture k uses seed+k. Without it a seed is drawn
	// once and recorded in status.seed, so that a retry gives the same picture.
	// The bound is 2^53-16, so that every seed of a job is exact in JSON.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740976
	Seed *int64 `json:"seed,omitempty"`

	// GeneratorDevice is the torch.Generator whose numbers the seed draws: those of a
	// pipeline with a generator on the CPU, or on CUDA. It has nothing to do with what
	// the runner computes on. Without it CPU.
	// +optional
	GeneratorDevice *GeneratorDevice `json:"generatorDevice,omitempty"`

	// Width of the pictures in pixels. Without it the model's default applies,
	// then the size the model was trained for; or with image that of the picture.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=4096
	// +kubebuilder:validation:MultipleOf=8
	Width *int32 `json:"width,omitempty"`

	// Height of the pictures in pixels. Without it the model's default applies,
	// then the size the model was trained for; or with image that of the picture.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=4096
	// +kubebuilder:validation:MultipleOf=8
	Height *int32 `json:"height,omitempty"`

	// Scheduler is the diffusers class name of the noise scheduler. Without it the
	// model's own scheduler_config.json decides.
	// +optional
	Scheduler *Scheduler `json:"scheduler,omitempty"`

	// Eta is the share of noise that DDIMScheduler adds in each step, as diffusers' eta.
	// Other schedulers take no notice of it. Without it 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	Eta *float64 `json:"eta,omitempty"`

	// Images is the number of pictures, each with a seed of its own. Without it 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	Images *int32 `json:"images,omitempty"`

	// Output says where and how pictures are written.
	// +optional
	Output *OutputSpec `json:"output,omitempty"`

	// PrecomputeEmbedding asks for the prompt embedding to be computed ahead.
	// It is a placeholder: the job warns and goes on.
	// +optional
	PrecomputeEmbedding *bool `json:"precomputeEmbedding,omitempty"`

	// BackoffLimit is how many times a failed attempt is tried again. Attempts
	// that end because the runner was evicted or its node went away do not count.
	// Without it 3.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	BackoffLimit *int32 `json:"backoffLimit,omitempty"`

	// Suspend parks the job while it is true: a runner that has it lets go of it. When it
	// is taken back the job begins again, with the same seed. Being suspended is not a
	// failure.
	// +optional
	Suspend *bool `json:"suspend,omitempty"`

	// Cancel ends the job for good and keeps its status. It can't be taken back.
	// +optional
	Cancel *bool `json:"cancel,omitempty"`

	// PriorityClassName names a PriorityClass of the cluster. Of the jobs of a pool that
	// wait, those of a higher class are given to runners first; none is taken from a
	// runner for it. Without it the cluster's default class applies, then priority 0. A
	// job whose class does not exist waits for it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName *string `json:"priorityClassName,omitempty"`

	// ActiveDeadlineSeconds is how long the job may take from when a runner first has it,
	// retries and waits between them included. The clock starts anew when a suspended job
	// is resumed. Without it there is no such limit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`

	// StageDeadlines are how long the job may be in each of its stages.
	// +optional
	StageDeadlines *StageDeadlines `json:"stageDeadlines,omitempty"`

	// TTLSecondsAfterFinished is how long the job is kept after its end, whatever that was.
	// Then it is deleted; its pictures are not. Without it, it is kept until someone
	// deletes it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// OutputSpec says where and how pictures are written.
// +kubebuilder:validation:XValidation:rule="!has(self.path) || !has(self.directory)",fieldPath=".path",message="has the directory in it: leave path or directory out"
type OutputSpec struct {
	// Store names one of the pool's spec.stores, a bucket that the pictures are written
	// to. Without it the pool's default store applies, then its outputs volume. A job
	// whose store does not exist waits for it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	Store *string `json:"store,omitempty"`

	// Directory for the pictures, relative to the folder of the job's namespace in the
	// store or on the pool's outputs volume; files in it are named <index>.png, .jpg or .webp. Without it
	// <name>-<first 8 of the uid>, which no other job uses.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && self.split('/').all(s, s != '' && s != '.' && s != '..')",message="must be a relative path without empty, '.' or '..' segments, such as album/cats"
	// +kubebuilder:validation:XValidation:rule="bytes(self).size() <= 700 && self.split('/').all(s, bytes(s).size() <= 255) && !self.matches('[\\x00-\\x1f]')",message="must have at most 700 bytes, 255 in each segment, and no control characters"
	Directory *string `json:"directory,omitempty"`

	// Path of each picture, in place of directory: relative to the folder of the job's
	// namespace, without the extension, which the format adds. {namespace}, {name} and
	// {uid} stand for the job's, {index} for the number of the picture, from 0, and {seed}
	// for its seed. An example is album/{name}-{seed}. Where images is above 1 it must have
	// {index} or {seed}.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && self.split('/').all(s, s != '' && s != '.' && s != '..') && !self.matches('[\\x00-\\x1f]')",message="must be a relative path without empty, '.' or '..' segments and without control characters, such as album/{name}-{seed}"
	// +kubebuilder:validation:XValidation:rule="self.findAll('[{][^{}]*[}]').all(p, p in ['{namespace}', '{name}', '{uid}', '{index}', '{seed}'])",messageExpression="'has the unknown placeholder ' + self.findAll('[{][^{}]*[}]').filter(p, !(p in ['{namespace}', '{name}', '{uid}', '{index}', '{seed}']))[0] + ': must be one of {namespace}, {name}, {uid}, {index} and {seed}'"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[^{}]*[}]|[{][^{}]*([{]|$)|[}][^{}]*[}]')",message="must have '{' and '}' only around {namespace}, {name}, {uid}, {index} and {seed}"
	Path *string `json:"path,omitempty"`

	// Format of the files: PNG, JPEG (quality 95) or WebP (without loss). Each has the
	// parameters of the generation in its metadata. Without it PNG.
	// +optional
	Format *ImageFormat `json:"format,omitempty"`
}

// GenerationJobStatus is what the manager says of a job.
type GenerationJobStatus struct {
	// Conditions: Scheduled, ModelLoaded, PipelineHealthy, Complete, Failed, in between
	// SuccessCriteriaMet or FailureTarget, where they were asked for Suspended and
	// Cancelled, and Ready, Reconciling and Stalled as kstatus reads them.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// ObservedGeneration is the generation of the spec this status speaks of, -1 until
	// the manager has seen the job.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Phase sums up the conditions for people: Pending, Initializing, ModelLoading,
	// Generating, Saving, Succeeded, Failed, Cancelled or Suspended. New values may be added.
	// +optional
	Phase Phase `json:"phase,omitempty"`

	// Progress in percent. It never goes down within an attempt.
	// +optional
	// +kubebuilder:default=0
	Progress int32 `json:"progress"`

	// Step is the number of calls of the denoising network done in this attempt, over all
	// pictures. Some schedulers call it more often than there are steps in the spec.
	// +optional
	Step int32 `json:"step,omitempty"`

	// Steps is the number of calls of the denoising network that this attempt takes, over
	// all pictures.
	// +optional
	Steps int32 `json:"steps,omitempty"`

	// Seed of the first picture, drawn once before anything runs where the spec has none.
	// +optional
	Seed *int64 `json:"seed,omitempty"`

	// Runner that has, or had, the job.
	// +optional
	Runner *RunnerBinding `json:"runner,omitempty"`

	// Attempt counts from 1 how often the job was given to a runner.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`

	// Failures is how many attempts counted against backoffLimit.
	// +optional
	Failures int32 `json:"failures,omitempty"`

	// ForgottenLosses is how many attempts had ended without counting against backoffLimit
	// when the job was last suspended, the one included that this ended. They lengthen no
	// wait.
	// +optional
	ForgottenLosses int32 `json:"forgottenLosses,omitempty"`

	// RetryTime is when the next attempt may begin, after a failed one.
	// +optional
	RetryTime *metav1.Time `json:"retryTime,omitempty"`

	// StartTime is when a runner first had the job, since it was last resumed.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// CompletionTime is when the job ended.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// Stages are the phases of the present attempt, in their order, from when the job
	// began to wait for it. The last one has no end while it lasts.
	// +optional
	// +listType=map
	// +listMapKey=phase
	// +kubebuilder:validation:MaxItems=16
	Stages []Stage `json:"stages,omitempty"`

	// Outputs are the pictures that were written.
	// +optional
	// +listType=map
	// +listMapKey=index
	// +kubebuilder:validation:MaxItems=16
	Outputs []Output `json:"outputs,omitempty"`

	// Warnings are things the user should know that did not stop the job.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Warnings []string `json:"warnings,omitempty"`
}

// RunnerBinding names the runner of an attempt. The truth about binding is the
// assignment in the Runner's spec; this is derived from it.
//
// +structType=atomic
type RunnerBinding struct {
	// Name of the Runner and of its pod.
	// +required
	Name string `json:"name"`

	// PodUID is the uid of the runner's pod, as runners reuse names.
	// +required
	PodUID types.UID `json:"podUID"`
}

// GenerationJob asks for pictures to be drawn from a prompt by a model.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=gj,categories=atelier
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.spec.modelRef.name`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Progress",type=integer,JSONPath=`.status.progress`
// +kubebuilder:printcolumn:name="Runner",type=string,JSONPath=`.status.runner.name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Step",type=integer,JSONPath=`.status.step`,priority=1
// +kubebuilder:printcolumn:name="Seed",type=integer,JSONPath=`.status.seed`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:selectablefield:JSONPath=`.spec.modelRef.name`
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
// +kubebuilder:validation:XValidation:rule="!self.?spec.output.path.hasValue() || self.spec.output.path.split('/').all(s, bytes(s).size() + (s.split('{name}').size() - 1) * (self.metadata.name.size() - 6) + (s.split('{namespace}').size() - 1) * 52 + (s.split('{uid}').size() - 1) * 31 + (s.split('{seed}').size() - 1) * 10 - (s.split('{index}').size() - 1) * 5 <= 250)",fieldPath=".spec.output.path",message="must have at most 250 bytes in each segment with the placeholders filled in: {name} as it is, {namespace} with up to 63, {uid} with 36, {seed} with up to 16, {index} with up to 2"
// +kubebuilder:validation:XValidation:rule="!self.?spec.output.path.hasValue() || [self.spec.output.path].all(s, bytes(s).size() + (s.split('{name}').size() - 1) * (self.metadata.name.size() - 6) + (s.split('{namespace}').size() - 1) * 52 + (s.split('{uid}').size() - 1) * 31 + (s.split('{seed}').size() - 1) * 10 - (s.split('{index}').size() - 1) * 5 <= 700)",fieldPath=".spec.output.path",message="must have at most 700 bytes with the placeholders filled in: {name} as it is, {namespace} with up to 63, {uid} with 36, {seed} with up to 16, {index} with up to 2"
type GenerationJob struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what the user asks for. Only suspend and cancel can be changed.
	// +required
	Spec GenerationJobSpec `json:"spec"`

	// Status is what the manager says of the job.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status GenerationJobStatus `json:"status,omitzero"`
}

// GenerationJobList is a list of GenerationJobs.
//
// +kubebuilder:object:root=true
type GenerationJobList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []GenerationJob `json:"items"`
}
