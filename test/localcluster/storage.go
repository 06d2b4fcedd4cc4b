// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package localcluster

import (
	"context"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// BindClaim makes a PersistentVolumeClaim of that name that stands for a directory of
// this machine, which is made if need be, and waits until the claim is bound.
func (c *Cluster) BindClaim(ctx context.Context, namespace, claim, path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return c.bind(ctx, volumeOf(namespace, claim, corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}))
}

// BindLocalClaim is BindClaim with a volume of the kind "local", which only that node has,
// and which the kubelet gives to the group that a pod asks for.
func (c *Cluster) BindLocalClaim(ctx context.Context, node, namespace, claim, path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	volume := volumeOf(namespace, claim, corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}})
	volume.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{
			{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{node}},
		}}},
	}}
	return c.bind(ctx, volume)
}

// bind creates a volume and the claim that it is meant for.
func (c *Cluster) bind(ctx context.Context, volume *corev1.PersistentVolume) error {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	request := claimOf(volume)
	namespace, claim := request.Namespace, request.Name
	if _, err := client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("volume for claim %s: %w", claim, err)
	}
	claims := client.CoreV1().PersistentVolumeClaims(namespace)
	if _, err := claims.Create(ctx, request, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("claim %s: %w", claim, err)
	}
	err = wait.PollUntilContextTimeout(ctx, readinessPeriod, readinessTimeout, true, func(ctx context.Context) (bool, error) {
		bound, err := claims.Get(ctx, claim, metav1.GetOptions{})
		return err == nil && bound.Status.Phase == corev1.ClaimBound, err
	})
	if err != nil {
		return fmt.Errorf("claim %s is not bound: %w", claim, err)
	}
	return nil
}

// volumeOf is a volume that is kept for a claim.
func volumeOf(namespace, claim string, source corev1.PersistentVolumeSource) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: namespace + "-" + claim},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			ClaimRef:                      &corev1.ObjectReference{Namespace: namespace, Name: claim},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        source,
		},
	}
}

// claimOf is the claim that takes a volume.
func claimOf(volume *corev1.PersistentVolume) *corev1.PersistentVolumeClaim {
	none := "" // keeps provisioners away
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: volume.Spec.ClaimRef.Namespace, Name: volume.Spec.ClaimRef.Name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: volume.Spec.AccessModes, VolumeName: volume.Name, StorageClassName: &none,
			Resources: corev1.VolumeResourceRequirements{Requests: volume.Spec.Capacity},
		},
	}
}
