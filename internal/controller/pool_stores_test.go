// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func storesOf() []v1alpha1.OutputStore {
	return []v1alpha1.OutputStore{
		{Name: "pictures", URL: "s3://pictures/team-a", SecretRef: &v1alpha1.ObjectReference{Name: "pictures-s3"}},
		{Name: "archive", URL: "s3://archive"},
	}
}

// TestStoresAreMounted gives the credentials to the runner's container and to no other.
func TestStoresAreMounted(t *testing.T) {
	pool := poolWith(`{"spec": {"containers": [{"name": "sidecar", "image": "x"}]}}`)
	pool.Spec.Stores = storesOf()
	template, err := runnerTemplate(pool, "atelier-runner")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range template.Spec.Containers {
		mount := corev1.VolumeMount{Name: "stores", MountPath: "/var/run/secrets/atelier/stores", ReadOnly: true}
		env := corev1.EnvVar{Name: "STORES_DIR", Value: "/var/run/secrets/atelier/stores"}
		mounted := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return cmp.Equal(m, mount) })
		told := slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return cmp.Equal(v, env) })
		if is := c.Name == "runner"; mounted != is || told != is {
			t.Errorf("container %s: mounted %v, told %v", c.Name, mounted, told)
		}
	}
	at := slices.IndexFunc(template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "stores" })
	if at < 0 {
		t.Fatal("there is no volume")
	}
	want := []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: "pictures-s3"},
		Optional:             new(true),
		Items: []corev1.KeyToPath{
			{Key: "AWS_ACCESS_KEY_ID", Path: "pictures/AWS_ACCESS_KEY_ID"},
			{Key: "AWS_SECRET_ACCESS_KEY", Path: "pictures/AWS_SECRET_ACCESS_KEY"},
			{Key: "AWS_SESSION_TOKEN", Path: "pictures/AWS_SESSION_TOKEN"},
		},
	}}}
	if diff := cmp.Diff(want, template.Spec.Volumes[at].Projected.Sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
}

// TestStoreOfAJob chooses by name alone: the job's, else the pool's, else the volume.
func TestStoreOfAJob(t *testing.T) {
	for name, c := range map[string]struct {
		job, pool string
		want      string
		missing   bool
	}{
		"none":               {},
		"the pool's default": {pool: "pictures", want: "s3://pictures/team-a"},
		"the job's":          {job: "archive", pool: "pictures", want: "s3://archive"},
		"one there is not":   {job: "elsewhere", pool: "pictures", missing: true},
	} {
		t.Run(name, func(t *testing.T) {
			pool, job := poolWith(""), &v1alpha1.GenerationJob{}
			pool.Spec.Stores = storesOf()
			if c.pool != "" {
				pool.Spec.DefaultStore = &c.pool
			}
			if c.job != "" {
				job.Spec.Output = &v1alpha1.OutputSpec{Store: &c.job}
			}
			store, found := storeOf(job, pool)
			if found == c.missing || (store == nil) != (c.want == "") || store != nil && store.URL != c.want {
				t.Errorf("got %+v, found %v; want %q", store, found, c.want)
			}
		})
	}
}
