// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// RunnerSpec is what the manager tells one runner pod.
type RunnerSpec struct {
	// PoolName is the RunnerPool the runner belongs to.
	// +required
	// +kubebuilder:validation:MaxLength=253
	PoolName string `json:"poolName"`

	// PodUID is the uid of the pod that this runner is, and the only one that may
	// write its status.
	// +required
	PodUID types.UID `json:"podUID"`

	// Assignments are the jobs bound to the runner, in the order in which it should
	// take them. An entry that is taken away is cancelled.
	// +optional
	// +listType=map
	// +listMapKey=uid
	// +kubebuilder:validation:MaxItems=16
	Assignments []Assignment `json:"assignments,omitempty"`

	// Prefetch is a model that jobs wait for and that no runner of the pool has loaded: the
	// runner brings it into its cache and into memory while it draws for the job that came
	// in the same write. It is a hint, and nothing is reported of it.
	// +optional
	Prefetch *AssignedModel `json:"prefetch,omitempty"`
}

// Assignment is one job for one runner, with everything resolved: a runner reads no
// other object.
//
// +structType=atomic
type Assignment struct {
	// UID of the GenerationJob.
	// +required
	UID types.UID `json:"uid"`

	// Attempt counts from 1 how often the job was given to a runner. A report speaks
	// of one uid and one attempt.
	// +required
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt"`

	// JobNamespace is the namespace of the GenerationJob. Without it the runner's own.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	JobNamespace string `json:"jobNamespace,omitempty"`

	// JobName is the name of the GenerationJob.
	// +required
	// +kubebuilder:validation:MaxLength=253
	JobName string `json:"jobName"`

	// BindTime is when the manager gave the job to the runner.
	// +optional
	BindTime *metav1.MicroTime `json:"bindTime,omitempty"`

	// Model to load.
	// +required
	Model AssignedModel `json:"model"`

	// Prompt describes the picture.
	// +required
	// +kubebuilder:validation:MaxLength=8192
	Prompt string `json:"prompt"`

	// NegativePrompt describes what the picture should not show.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	NegativePrompt string `json:"negativePrompt,omitempty"`

	// PromptSyntax says how the prompts are read; empty is Compel.
	// +optional
	PromptSyntax PromptSyntax `json:"promptSyntax,omitempty"`

	// ClipSkip is how many layers are left out at the end of the text encoder.
	// +optional
	ClipSkip int32 `json:"clipSkip,omitempty"`

	// Image is a picture to begin with; absent is noise alone.
	// +optional
	Image *ImageSource `json:"image,omitempty"`

	// Strength says how much of Image is given up; 0 where there is none.
	// +optional
	Strength float64 `json:"strength,omitempty"`

	// Steps is the number of denoising steps.
	// +required
	Steps int32 `json:"steps"`

	// GuidanceScale of classifier-free guidance.
	// +required
	GuidanceScale float64 `json:"guidanceScale"`

	// GuidanceRescale says how far the contrast that guidance adds is taken back.
	// +optional
	GuidanceRescale float64 `json:"guidanceRescale,omitempty"`

	// Seed of the first picture; picture k uses seed+k.
	// +required
	Seed int64 `json:"seed"`

	// GeneratorDevice is whose random numbers the seed draws; empty is CPU.
	// +optional
	GeneratorDevice GeneratorDevice `json:"generatorDevice,omitempty"`

	// Width in pixels; 0 is the size the model was trained for, or that of Image.
	// +optional
	Width int32 `json:"width,omitempty"`

	// Height in pixels; 0 is the size the model was trained for, or that of Image.
	// +optional
	Height int32 `json:"height,omitempty"`

	// Scheduler is a diffusers class name; empty is the model's own.
	// +optional
	Scheduler Scheduler `json:"scheduler,omitempty"`

	// Eta is the share of noise that DDIMScheduler adds in each step.
	// +optional
	Eta float64 `json:"eta,omitempty"`

	// Images is the number of pictures.
	// +required
	// +kubebuilder:validation:Minimum=1
	Images int32 `json:"images"`

	// Store is where to write to; absent is the outputs volume.
	// +optional
	Store *OutputStore `json:"store,omitempty"`

	// SaveSeconds is how long saving may take in all.
	// +optional
	SaveSeconds int64 `json:"saveSeconds,omitempty"`

	// OutputDirectory is relative to the outputs volume, or to the store's URL.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	OutputDirectory string `json:"outputDirectory"`

	// OutputPaths are where the pictures go, in their order, relative to the outputs
	// volume or to the store's URL, without the extension that the format adds. Without
	// them the names are <index> in OutputDirectory.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=1024
	OutputPaths []string `json:"outputPaths,omitempty"`

	// OutputFormat of the files.
	// +required
	OutputFormat ImageFormat `json:"outputFormat"`

	// PrecomputeEmbedding calls the placeholder before generating.
	// +optional
	PrecomputeEmbedding bool `json:"precomputeEmbedding,omitempty"`
}

// AssignedModel is a Model as an assignment carries it.
//
// +structType=atomic
type AssignedModel struct {
	// Name of the Model object.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// UID of the Model object, as names can be used again.
	// +required
	UID types.UID `json:"uid"`

	// Generation of the Model's spec: another one is another model to a runner.
	// +required
	Generation int64 `json:"generation"`

	// Source says where the model directory is.
	// +required
	Source ModelSource `json:"source"`

	// Store of the pool that the model's bucket is in, for its credentials; absent where
	// there is none.
	// +optional
	Store *OutputStore `json:"store,omitempty"`

	// Digest of the model, so that all runners use the same bytes. Empty until the
	// first runner has looked up what the source names.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Digest string `json:"digest,omitempty"`
}

// DeviceType is what a runner computes on.
// +kubebuilder:validation:Enum=CUDA;CPU
type DeviceType string

// The devices.
const (
	DeviceCUDA DeviceType = "CUDA"
	DeviceCPU  DeviceType = "CPU"
)

// JobKey is where the GenerationJob of an assignment is.
func (r *Runner) JobKey(a *Assignment) types.NamespacedName {
	key := types.NamespacedName{Namespace: a.JobNamespace, Name: a.JobName}
	if key.Namespace == "" {
		key.Namespace = r.Namespace
	}
	return key
}

// RunnerStatus is what the runner pod says. No other client may write it.
//
// Its times have a pattern beside format: date-time. That lets some through that Go doesn't
// read, and one such Runner would keep the manager from listing any.
type RunnerStatus struct {
	// Conditions: Ready says that the process takes assignments, PipelineHealthy
	// that its pipeline is idle or wholly loaded.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(c, c.lastTransitionTime >= timestamp('0001-01-01T00:00:00Z'))",message="each lastTransitionTime must be a time, such as 2026-01-01T12:00:00Z"
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// ObservedGeneration is the generation of the spec this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// BootID is drawn anew at each start of the process: work that an earlier boot
	// had taken is lost and is reported as crashed.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	BootID string `json:"bootID,omitempty"`

	// StartTime of the process.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$`
	StartTime *metav1.MicroTime `json:"startTime,omitempty"`

	// ReadyTime is when the process was ready to take assignments.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$`
	ReadyTime *metav1.MicroTime `json:"readyTime,omitempty"`

	// Version of the runner.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version,omitempty"`

	// Device the runner computes on. Absent until the first model load, as a fresh
	// runner touches no device.
	// +optional
	Device *RunnerDevice `json:"device,omitempty"`

	// Model that is loaded. Absent when none is.
	// +optional
	Model *LoadedModel `json:"model,omitempty"`

	// Assignments are the reports on what is in the spec. A report goes away after
	// its assignment did: its absence acknowledges that the slot is free.
	// +optional
	// +listType=map
	// +listMapKey=uid
	// +kubebuilder:validation:MaxItems=16
	Assignments []AssignmentReport `json:"assignments,omitempty"`
}

// RunnerDevice says what a runner computes on, and why.
//
// +structType=atomic
type RunnerDevice struct {
	// Type of the device.
	// +required
	Type DeviceType `json:"type"`

	// Message says why this device was chosen.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// LoadedModel names the model that a pipeline has loaded.
//
// +structType=atomic
type LoadedModel struct {
	// Name of the Model object.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// UID of the Model object.
	// +required
	UID types.UID `json:"uid"`

	// Generation of the Model's spec that was loaded.
	// +required
	Generation int64 `json:"generation"`

	// Digest of what was loaded, each byte of which was compared with it. Absent for
	// a path on the models volume, which has none.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Digest string `json:"digest,omitempty"`

	// ModelFacts are what the model's files say of it.
	ModelFacts `json:",inline"`

	// LoadTime is when loading ended.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$`
	LoadTime *metav1.MicroTime `json:"loadTime,omitempty"`

	// LoadDuration is how long loading took.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	LoadDuration *Duration `json:"loadDuration,omitempty"`
}

// AssignmentReport is what a runner says of one assignment.
//
// +structType=atomic
type AssignmentReport struct {
	// UID of the GenerationJob.
	// +required
	UID types.UID `json:"uid"`

	// Attempt that the report speaks of.
	// +required
	Attempt int32 `json:"attempt"`

	// Phase of the assignment, from Initializing to Succeeded or Failed.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Phase Phase `json:"phase"`

	// Progress in percent. It never goes down within an attempt.
	// +required
	Progress int32 `json:"progress"`

	// Step is the number of calls of the denoising network done, over all pictures.
	// +optional
	Step int32 `json:"step,omitempty"`

	// Steps is the number of calls of the denoising network in all, over all pictures.
	// Absent until the generation has begun.
	// +optional
	Steps int32 `json:"steps,omitempty"`

	// Stages are the phases of the attempt so far, in their order, by the runner's clock.
	// The last one has no end while it lasts.
	// +optional
	// +listType=map
	// +listMapKey=phase
	// +kubebuilder:validation:MaxItems=16
	Stages []Stage `json:"stages,omitempty"`

	// PipelineHealthy is what the check before the generation found, with a reason.
	// Absent until it was made.
	// +optional
	PipelineHealthy *PipelineHealth `json:"pipelineHealthy,omitempty"`

	// Pull says how far the runner has fetched the model. Absent for one on the models
	// volume.
	// +optional
	Pull *ModelPull `json:"pull,omitempty"`

	// ModelLoaded is true once the model is loaded for this assignment.
	// +optional
	ModelLoaded bool `json:"modelLoaded,omitempty"`

	// Warnings are things the user should know that did not stop the job.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Warnings []string `json:"warnings,omitempty"`

	// Outputs are the pictures that were written.
	// +optional
	// +listType=map
	// +listMapKey=index
	// +kubebuilder:validation:MaxItems=16
	Outputs []Output `json:"outputs,omitempty"`

	// Error says why the phase is Failed.
	// +optional
	Error *AssignmentError `json:"error,omitempty"`
}

// ModelPull is how far a model was fetched into a runner's cache.
type ModelPull struct {
	// DoneBytes of TotalBytes have arrived. TotalBytes is 0 where the server does not
	// tell the size.
	// +required
	DoneBytes int64 `json:"doneBytes"`

	// TotalBytes of the model as it is published.
	// +required
	TotalBytes int64 `json:"totalBytes"`

	// Digest of the model that is fetched.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Digest string `json:"digest,omitempty"`
}

// PipelineHealth is the outcome of a health check.
type PipelineHealth struct {
	// Healthy is true for an idle and for a wholly loaded pipeline.
	// +required
	Healthy bool `json:"healthy"`

	// Reason is one word: Idle, Loaded, PartiallyLoaded, Corrupted, Reloaded, LoadFailed.
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`
	Reason string `json:"reason"`

	// Message says what was found.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`
}

// AssignmentError says why an attempt failed.
type AssignmentError struct {
	// Reason is one word; see the Reason constants of this package.
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`
	Reason string `json:"reason"`

	// Message names the field or the file at fault and what would be right.
	// +required
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message"`

	// Retryable is false where another attempt would fail in the same way.
	// +required
	Retryable bool `json:"retryable"`
}

// Runner is the mailbox of one runner pod: the manager writes its spec, the pod its status.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=atelier
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.poolName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Healthy",type=string,JSONPath=`.status.conditions[?(@.type=="PipelineHealthy")].reason`
// +kubebuilder:printcolumn:name="Device",type=string,JSONPath=`.status.device.type`
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.status.model.name`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.assignments[0].phase`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:selectablefield:JSONPath=`.spec.poolName`
type Runner struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what the manager tells the runner.
	// +required
	Spec RunnerSpec `json:"spec"`

	// Status is what the runner says.
	// +optional
	Status RunnerStatus `json:"status,omitzero"`
}

// RunnerList is a list of Runners.
//
// +kubebuilder:object:root=true
type RunnerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []Runner `json:"items"`
}
