// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// How the runner finds a directory with the credentials of each store.
const (
	storesVolume = "stores"
	storesPath   = "/var/run/secrets/atelier/stores"
	storesEnv    = "STORES_DIR"
)

// volumeURL is that of a store that is the outputs volume. Runners hear nothing of it.
const volumeURL = "file:///"

// storeFileMode lets the runner read the files, whose group is the pod's fsGroup.
const storeFileMode int32 = 0o440

// storeKeys are the keys of a Secret that the runner gets to see, by the scheme of the
// store's URL.
var storeKeys = map[string][]string{
	"s3":     {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"},
	"gs":     {"GOOGLE_APPLICATION_CREDENTIALS"},
	"azblob": {"AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"},
}

// mountStores gives the runner's container, and no other, the credentials of the pool's
// stores. As files they are in no object but their Secret, and follow it when it is renewed.
// A pod starts without a Secret that is missing: the runner says so to the jobs that want
// the store.
func mountStores(spec *corev1.PodSpec, stores []v1alpha1.OutputStore) {
	var sources []corev1.VolumeProjection
	for _, store := range stores {
		if store.SecretRef != nil {
			sources = append(sources, projectStore(store))
		}
	}
	if len(sources) == 0 {
		return
	}
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: storesVolume, VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: sources, DefaultMode: new(storeFileMode)},
	}})
	runner := runnerContainerOf(spec)
	runner.Env = append(runner.Env, corev1.EnvVar{Name: storesEnv, Value: storesPath})
	runner.VolumeMounts = append(runner.VolumeMounts, corev1.VolumeMount{Name: storesVolume, MountPath: storesPath, ReadOnly: true})
}

// projectStore puts the credentials of a store into a folder of its name.
func projectStore(store v1alpha1.OutputStore) corev1.VolumeProjection {
	scheme, _, _ := strings.Cut(store.URL, ":")
	keys := storeKeys[scheme]
	items := make([]corev1.KeyToPath, len(keys))
	for i, key := range keys {
		items[i] = corev1.KeyToPath{Key: key, Path: path.Join(store.Name, key)}
	}
	return corev1.VolumeProjection{Secret: &corev1.SecretProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: store.SecretRef.Name},
		Items:                items,
		Optional:             new(true),
	}}
}

// storeOfModel returns the store of the pool that the bucket of a model is in, nil for none:
// the one whose URL is the model's or the nearest above it. Its endpoint must be the
// model's: whoever writes a Model must not have a pool's credentials sent elsewhere.
func storeOfModel(model *v1alpha1.Model, pool *v1alpha1.RunnerPool) *v1alpha1.OutputStore {
	source := model.Spec.Source.Bucket
	if source == nil {
		return nil
	}
	var nearest *v1alpha1.OutputStore
	for i := range pool.Spec.Stores {
		store := &pool.Spec.Stores[i]
		if strings.TrimSuffix(store.Endpoint, "/") == strings.TrimSuffix(source.Endpoint, "/") && strings.HasPrefix(source.URL+"/", store.URL+"/") &&
			(nearest == nil || len(store.URL) > len(nearest.URL)) {
			nearest = store
		}
	}
	return nearest.DeepCopy()
}
