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
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	volume, request := hostVolume(namespace, claim, path)
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

// hostVolume is a volume in a directory of the host and the claim that takes it.
func hostVolume(namespace, claim, path string) (*corev1.PersistentVolume, *corev1.PersistentVolumeClaim) {
	name := namespace + "-" + claim
	none := "" // keeps provisioners away
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: size, AccessModes: modes,
			ClaimRef:                      &corev1.ObjectReference{Namespace: namespace, Name: claim},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}},
		},
	}
	request := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: claim},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: modes, VolumeName: name, StorageClassName: &none,
			Resources: corev1.VolumeResourceRequirements{Requests: size},
		},
	}
	return volume, request
}
