// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Values that apply where a pool leaves a field out. They are never written into a spec.
const (
	// DefaultMaxRunners is the upper bound on runners.
	DefaultMaxRunners int32 = 1
	// DefaultSlots is the number of assignments of a runner.
	DefaultSlots int32 = 1
	// DefaultIdleTimeout is how long a runner above the minimum may be idle.
	DefaultIdleTimeout = 10 * time.Minute
	// DefaultMaxAffinityWait is how long a job may be overtaken by jobs whose model is loaded.
	DefaultMaxAffinityWait = 30 * time.Second
	// DefaultMaxUnavailable is how many runners a new template takes away at a time.
	DefaultMaxUnavailable int32 = 1
	// DefaultUnreadyTimeout is how long a pod with jobs may be not ready.
	DefaultUnreadyTimeout = 2 * time.Minute
)

// RunnerPoolSpec says how many runners there may be and what their pods look like.
//
// Durations have a rule in place of format: duration, which lets "1d" through, and that Go
// doesn't read.
//
// +kubebuilder:validation:XValidation:rule="!has(self.minRunners) || self.minRunners <= (has(self.maxRunners) ? self.maxRunners : 1)",message="minRunners must not be above maxRunners (1 where it is left out)",fieldPath=".minRunners"
// +kubebuilder:validation:XValidation:rule="!has(self.defaultStore) || has(self.stores) && self.stores.exists(s, s.name == self.defaultStore && !(has(s.readOnly) && s.readOnly))",message="must be the name of one of spec.stores that is not readOnly",fieldPath=".defaultStore"
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
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('0s')",message="must be a duration and must not be negative, such as 10m"
	IdleTimeout *Duration `json:"idleTimeout,omitempty"`

	// MaxAffinityWait is how long a job may be overtaken by later jobs of its priority
	// whose model a free runner has loaded, counted from the first one. Then it gets the
	// next free runner, by swapping the model. 0s keeps strictly to the order in which
	// jobs were created. Without it 30s.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('0s')",message="must be a duration and must not be negative, such as 30s"
	MaxAffinityWait *Duration `json:"maxAffinityWait,omitempty"`

	// Suspend stops the pool: it gives no more jobs away, and its runners are removed
	// when they have finished those that they have, below minRunners too. Jobs wait.
	// +optional
	Suspend *bool `json:"suspend,omitempty"`

	// MaxUnavailable is how many runners may be out of service at a time because the
	// template changed, those included that start or end for other reasons. The others go
	// on with the old template meanwhile. A runner with a job is never removed. Without it 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxUnavailable *int32 `json:"maxUnavailable,omitempty"`

	// UnreadyTimeout is how long a pod that has jobs may be not Ready, because its node, its
	// process or the way to the API server is broken, until it is deleted and its jobs
	// go to other runners. Without it 2m.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('10s')",message="must be a duration and must be at least 10s, such as 2m"
	UnreadyTimeout *Duration `json:"unreadyTimeout,omitempty"`

	// AllowedNamespaces says from which namespaces jobs may use the pool. Without it
	// only from its own.
	// +optional
	AllowedNamespaces *AllowedNamespaces `json:"allowedNamespaces,omitempty"`

	// Stores are the buckets that jobs of the pool may write their pictures to, and that
	// the runners have credentials for, also to read models.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Stores []OutputStore `json:"stores,omitempty"`

	// DefaultStore is the one of stores that jobs write to which name none. Without it
	// they write to the outputs volume.
	// +optional
	// +kubebuilder:validation:MaxLength=50
	DefaultStore *string `json:"defaultStore,omitempty"`

	// ServiceAccountAnnotations are put on the service accounts of the pool's runners, of
	// which each has its own: a cloud's identity, such as eks.amazonaws.com/role-arn,
	// iam.gke.io/gcp-service-account or azure.workload.identity/client-id. A change
	// replaces the runners as a new template does.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 316 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$'))",message="keys must be those of annotations, such as eks.amazonaws.com/role-arn"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.matches('^([^/]*[.])?(kubernetes.io|k8s.io|generation.atelier.dev)/'))",message="keys must not be those of Kubernetes or of Atelier; a cloud's are like eks.amazonaws.com/role-arn"
	// +kubebuilder:validation:XValidation:rule="self.all(k, self[k].size() <= 2048)",message="values must be at most 2048 characters long"
	ServiceAccountAnnotations map[string]string `json:"serviceAccountAnnotations,omitempty"`

	// Template of the runner pods, a core/v1 PodTemplateSpec. What it leaves out is
	// filled in: the container named "runner" (image, command, probes, security
	// context) and the volumes "models" (mounted read-only at /models), "outputs" (at
	// /outputs) and "tmp". It is usually just the GPU, the node selector and those two volumes.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	Template *runtime.RawExtension `json:"template,omitempty"`
}

// FromNamespaces says how namespaces are chosen.
// +kubebuilder:validation:Enum=Same;All;Selector
type FromNamespaces string

// The ways to choose namespaces. The pool's own namespace is always among them.
const (
	// NamespacesFromSame chooses no other namespace.
	NamespacesFromSame FromNamespaces = "Same"
	// NamespacesFromAll chooses every namespace.
	NamespacesFromAll FromNamespaces = "All"
	// NamespacesFromSelector chooses the namespaces with certain labels.
	NamespacesFromSelector FromNamespaces = "Selector"
)

// AllowedNamespaces says from which namespaces jobs may use a pool, as the listeners of a
// Gateway say it of routes.
// +kubebuilder:validation:XValidation:rule="has(self.selector) == (has(self.from) && self.from == 'Selector')",message="selector must be set where from is Selector, and nowhere else",fieldPath=".selector"
type AllowedNamespaces struct {
	// From is Same, All or Selector. Without it Same.
	// +optional
	From *FromNamespaces `json:"from,omitempty"`

	// Selector chooses namespaces by their labels, where from is Selector.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
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

	// UpdatedRunners is how many of them were made from the present template.
	// +optional
	// +kubebuilder:default=0
	UpdatedRunners int32 `json:"updatedRunners"`

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
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.spec.suspend`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
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
