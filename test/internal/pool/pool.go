// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pool makes the RunnerPools of tests in whole clusters.
package pool

import (
	"encoding/json"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// New gives the pool of a namespace that jobs use which name none. Its template is that of
// config/samples: a runner has one GPU, and as volumes the claims "models" and "outputs".
// limits are what it has beside the GPU; nil for nothing.
func New(namespace string, spec v1alpha1.RunnerPoolSpec, limits corev1.ResourceList) *v1alpha1.RunnerPool {
	spec.Template = template(limits)
	return &v1alpha1.RunnerPool{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"}, Spec: spec}
}

// template is a core/v1 PodTemplateSpec, as a pool has it.
func template(more corev1.ResourceList) *runtime.RawExtension {
	limits := corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}
	maps.Copy(limits, more)
	raw, err := json.Marshal(corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "runner", Resources: corev1.ResourceRequirements{Limits: limits}}},
		Volumes: []corev1.Volume{
			claim(corev1.PersistentVolumeClaimVolumeSource{ClaimName: "models", ReadOnly: true}),
			claim(corev1.PersistentVolumeClaimVolumeSource{ClaimName: "outputs"}),
		},
	}})
	if err != nil {
		panic(err) // Only for types that JSON has not.
	}
	return &runtime.RawExtension{Raw: raw}
}

// claim is the volume that is named as its claim.
func claim(source corev1.PersistentVolumeClaimVolumeSource) corev1.Volume {
	return corev1.Volume{Name: source.ClaimName, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &source}}
}
