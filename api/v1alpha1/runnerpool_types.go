// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Values that apply where a pool leaves a field out. They are never written into a spec.
const (
	// DefaultMaxRunners is the upper bound on runners.
	DefaultMaxRunners int32 = 1
	// DefaultSlots is the number of assignments of a runner.
	DefaultSlots int32 = 1
)

// RunnerPoolSpec says how many runners there may be and what their pods look like.
// +kubebuilder:validation:XValidation:rule="!has(self.minRunners) || self.minRunners <= (has(self.maxRunners) ? self.maxRunners : 1)",message="minRunners must not be above maxRunners (1 where it is left out)",fieldPath=".minRunners"
type RunnerPoolSpec struct {
	// MinRunners is kept even when no job waits. Without it 0: the pool scales to zero.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	MinRunners *int32 `json:"minRunners,omitempty"`

	// MaxRunners is never exceeded. Without it 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxRunners *int32 `json:"maxRunners,omitempty"`

	// Slots is how many jobs a runner is given at a time. It runs them one after the
	// other; more than one hides the way between manager and runner. Without it 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	Slots *int32 `json:"slots,omitempty"`

	// IdleTimeout is how long a runner above minRunners may be idle before it is
	// removed. Without it 10m.
	// +optional
	// +kubebuilder:validation:Format=duration
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="must not be negative, such as 10m"
	IdleTimeout *metav1.Duration `json:"idleTimeout,omitempty"`

	// Template of the runner pods, a core/v1 PodTemplateSpec. What it leaves out is
	// filled in: the container named "runner" (image, command, probes, security
	// context) and the volumes "models" (mounted read-only at /models), "outputs" (at
	// /outputs) and "tmp". It is usually just the GPU, the node selector and those two volumes.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	Template *runtime.RawExtension `json:"template,omitempty"`
}

// RunnerPoolStatus is what the manager says of a pool.
type RunnerPoolStatus struct {
	// Conditions: Ready, Reconciling and Stalled as kstatus reads them.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// ObservedGeneration is the generation of the spec this status speaks of, -1 until
	// the manager has seen the pool.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// DesiredRunners is how many runners the pool should have now.
	// +optional
	// +kubebuilder:default=0
	DesiredRunners int32 `json:"desiredRunners"`

	// Runners is how many runner pods there are.
	// +optional
	// +kubebuilder:default=0
	Runners int32 `json:"runners"`

	// ReadyRunners is how many of them can take a job.
	// +optional
	// +kubebuilder:default=0
	ReadyRunners int32 `json:"readyRunners"`

	// BusyRunners is how many of them have a job.
	// +optional
	// +kubebuilder:default=0
	BusyRunners int32 `json:"busyRunners"`

	// PendingJobs is how many jobs wait for a runner of this pool.
	// +optional
	// +kubebuilder:default=0
	PendingJobs int32 `json:"pendingJobs"`
}

// RunnerPool runs jobs on pods that it starts when jobs wait and removes when idle.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rp,categories=atelier
// +kubebuilder:printcolumn:name="Runners",type=integer,JSONPath=`.status.runners`
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=`.status.readyRunners`
// +kubebuilder:printcolumn:name="Busy",type=integer,JSONPath=`.status.busyRunners`
// +kubebuilder:printcolumn:name="Pending",type=integer,JSONPath=`.status.pendingJobs`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be at most 52 lower-case letters, digits and '-', as runners are named <pool>-<number>"
type RunnerPool struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec says how many runners there may be and what their pods look like.
	// +optional
	Spec RunnerPoolSpec `json:"spec,omitzero"`

	// Status is what the manager says of the pool.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status RunnerPoolStatus `json:"status,omitzero"`
}

// RunnerPoolList is a list of RunnerPools.
//
// +kubebuilder:object:root=true
type RunnerPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []RunnerPool `json:"items"`
}
