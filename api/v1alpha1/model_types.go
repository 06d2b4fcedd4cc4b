// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ModelSpec says where a model is and what a job gets that leaves a parameter out.
type ModelSpec struct {
	// Source says where the model directory is.
	// +required
	Source ModelSource `json:"source"`

	// Defaults apply to jobs that leave a parameter out.
	// +optional
	Defaults *ModelDefaults `json:"defaults,omitempty"`
}

// ModelSource says where a model directory in the diffusers ONNX layout is (with a
// model_index.json at its top).
type ModelSource struct {
	// Path of the directory, relative to the pool's models volume.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && self.split('/').all(s, s != '' && s != '.' && s != '..')",message="must be a relative path without empty, '.' or '..' segments, such as stable-diffusion-v1-5"
	Path string `json:"path"`
}

// ModelDefaults are the parameters a job gets that leaves them out.
type ModelDefaults struct {
	// Steps is the number of denoising steps.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Steps *int32 `json:"steps,omitempty"`

	// GuidanceScale of classifier-free guidance; 1 or less turns it off.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	GuidanceScale *float64 `json:"guidanceScale,omitempty"`

	// GuidanceRescale says how far the contrast that guidance adds is taken back, as
	// diffusers' guidance_rescale.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	GuidanceRescale *float64 `json:"guidanceRescale,omitempty"`

	// ClipSkip is how many layers are left out at the end of the text encoder.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=12
	ClipSkip *int32 `json:"clipSkip,omitempty"`

	// PromptSyntax says how prompts are read: Compel or Plain.
	// +optional
	PromptSyntax *PromptSyntax `json:"promptSyntax,omitempty"`

	// Width of the pictures in pixels.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=4096
	// +kubebuilder:validation:MultipleOf=8
	Width *int32 `json:"width,omitempty"`

	// Height of the pictures in pixels.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=4096
	// +kubebuilder:validation:MultipleOf=8
	Height *int32 `json:"height,omitempty"`

	// Scheduler is the diffusers class name of the noise scheduler.
	// +optional
	Scheduler *Scheduler `json:"scheduler,omitempty"`
}

// ModelStatus is what the manager says of a model.
type ModelStatus struct {
	// Conditions: Ready says that jobs may use the model; Loadable says what the
	// last runner that tried to load it found, Unknown until one has.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// ObservedGeneration is the generation of the spec this status speaks of, -1 until
	// the manager has seen the model.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// LoadedRunners is the number of runners that have the model loaded.
	// +optional
	// +kubebuilder:default=0
	LoadedRunners int32 `json:"loadedRunners"`
}

// Model is a diffusion model that jobs can name. A model is loaded by a runner when
// the first job needs it, never before.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=gm,categories=atelier
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.spec.source.path`
// +kubebuilder:printcolumn:name="Loaded",type=integer,JSONPath=`.status.loadedRunners`
// +kubebuilder:printcolumn:name="Loadable",type=string,JSONPath=`.status.conditions[?(@.type=="Loadable")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Model struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec says where the model is.
	// +required
	Spec ModelSpec `json:"spec"`

	// Status is what the manager says of the model.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status ModelStatus `json:"status,omitzero"`
}

// ModelList is a list of Models.
//
// +kubebuilder:object:root=true
type ModelList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []Model `json:"items"`
}
