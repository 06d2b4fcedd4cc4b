// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Deadlines, in seconds, of stages for which a job sets none. Nothing else would end a
// stage that hangs. There is none for the queue: a job that waits says on what.
const (
	// DefaultLoadSeconds is enough for a large model on slow storage.
	DefaultLoadSeconds int64 = 30 * 60
	// DefaultGenerateSeconds is enough for many pictures in many steps on a GPU.
	DefaultGenerateSeconds int64 = 6 * 60 * 60
	// DefaultSaveSeconds is enough for pictures on storage that hardly answers.
	DefaultSaveSeconds int64 = 10 * 60
)

// StageDeadlines are how long, in seconds, a job may be in each of its stages. A job that
// takes longer fails, with a reason that names the stage, and is not tried again.
type StageDeadlines struct {
	// QueueSeconds is from when the job begins to wait, for its first attempt or for
	// another, until a runner takes it. Without it a job waits for as long as it has to.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	QueueSeconds *int64 `json:"queueSeconds,omitempty"`

	// LoadSeconds is from when a runner takes the job until the model is loaded.
	// Without it 1800.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	LoadSeconds *int64 `json:"loadSeconds,omitempty"`

	// GenerateSeconds is from the first denoising step until all pictures are drawn.
	// Without it 21600.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	GenerateSeconds *int64 `json:"generateSeconds,omitempty"`

	// SaveSeconds is from when the pictures are drawn until they are written.
	// Without it 600.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	SaveSeconds *int64 `json:"saveSeconds,omitempty"`
}

// Stage is a phase with its times.
//
// +structType=atomic
type Stage struct {
	// Phase that the stage is.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Phase Phase `json:"phase"`

	// StartTime is when the phase began.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$`
	StartTime metav1.MicroTime `json:"startTime"`

	// EndTime is when the phase ended. Absent while it lasts.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$`
	EndTime *metav1.MicroTime `json:"endTime,omitempty"`
}
