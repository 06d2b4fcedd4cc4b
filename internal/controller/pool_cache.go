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

// cacheMargin is the part of a volume, one in so many, that the cache is not told of: folders
// and what files take beyond their size count for the kubelet, and not for the cache. On ext4
// they are 0.5 % for the demo model of 25 MB, and less for larger ones.
const cacheMargin = 50

// limitCache keeps the cache below the size limit of its volume, where the template does not
// say how much it may take: the kubelet evicts a pod of which an emptyDir exceeds its limit.
func limitCache(spec *corev1.PodSpec) {
	runner := runnerContainerOf(spec)
	limit := cacheSizeLimit(spec.Volumes, runner.VolumeMounts)
	if limit <= 0 || hasEnv(runner, cacheCapacityEnv) { // To the kubelet, too, 0 is no limit.
		return
	}
	runner.Env = append(runner.Env, corev1.EnvVar{Name: cacheCapacityEnv, Value: strconv.FormatInt(limit-limit/cacheMargin, 10)})
}

// cacheSizeLimit is the limit of the emptyDir at the cache's path in bytes; 0 for none.
func cacheSizeLimit(volumes []corev1.Volume, mounts []corev1.VolumeMount) int64 {
	for _, v := range volumes {
		here := slices.ContainsFunc(mounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name && m.MountPath == cachePath })
		if here && v.EmptyDir != nil && v.EmptyDir.SizeLimit != nil {
			return v.EmptyDir.SizeLimit.Value()
		}
	}
	return 0
}
