// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// cacheCapacityEnv tells a runner how many bytes its cache may take.
const cacheCapacityEnv = "CACHE_CAPACITY"

// The parts of a limit, one in so many, that the cache is not told of.
const (
	// volumeMargin is of a limit of the cache's volume: folders and what files take beyond
	// their size count for the kubelet, and not for the cache. On ext4 they are 0.5 % for the
	// demo model of 25 MB, and less for larger ones.
	volumeMargin = 50
	// podMargin is of a limit of the pod, which counts its log and other volumes as well.
	podMargin = 10
)

// limitCache keeps the cache below what the pod may take of the node's disk, where the
// template does not say how much that is for the cache: the kubelet evicts a pod that takes
// more, or of which an emptyDir does.
func limitCache(spec *corev1.PodSpec) {
	runner := runnerContainerOf(spec)
	volume := cacheDirectory(spec.Volumes, runner.VolumeMounts)
	if volume == nil || hasEnv(runner, cacheCapacityEnv) {
		return
	}
	var limits []int64
	if limit := volume.SizeLimit; limit != nil && limit.Value() > 0 { // To the kubelet, too, 0 is no limit.
		limits = append(limits, limit.Value()-limit.Value()/volumeMargin)
	}
	if limit, limited := runner.Resources.Limits[corev1.ResourceEphemeralStorage]; limited && volume.Medium == corev1.StorageMediumDefault {
		limits = append(limits, limit.Value()-limit.Value()/podMargin)
	}
	if len(limits) > 0 {
		runner.Env = append(runner.Env, corev1.EnvVar{Name: cacheCapacityEnv, Value: strconv.FormatInt(slices.Min(limits), 10)})
	}
}

// cacheDirectory is the emptyDir at the cache's path; nil where there is another volume.
func cacheDirectory(volumes []corev1.Volume, mounts []corev1.VolumeMount) *corev1.EmptyDirVolumeSource {
	for _, v := range volumes {
		if slices.ContainsFunc(mounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name && m.MountPath == cachePath }) {
			return v.EmptyDir
		}
	}
	return nil
}
