// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the API types of the group generation.atelier.dev.
//
// Four kinds make the system: a GenerationJob asks for pictures, a Model says where
// weights are, a RunnerPool says what may run them, and a Runner is the mailbox between
// the manager and one runner pod. Every half of an object has exactly one writer:
//
//	kind           spec        status
//	GenerationJob  user        manager
//	Model          user        manager
//	RunnerPool     user        manager
//	Runner         manager     the runner pod
//
// What a half's one writer writes as a whole is a +structType=atomic: an object's
// managedFields, half of its bytes otherwise, then list that and not each of its fields.
//
// +kubebuilder:object:generate=true
// +groupName=generation.atelier.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the group and version of every type in this package.
	GroupVersion = schema.GroupVersion{Group: "generation.atelier.dev", Version: "v1alpha1"}

	// SchemeBuilder collects the functions that register this package's types.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme registers this package's types with a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&GenerationJob{}, &GenerationJobList{},
		&Model{}, &ModelList{},
		&RunnerPool{}, &RunnerPoolList{},
		&Runner{}, &RunnerList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
