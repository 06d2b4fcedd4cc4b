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
		{Name: "models", URL: "s3://models", ReadOnly: true},
		{Name: "volume", URL: "file:///"},
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
	want := []corev1.VolumeProjection{projected("pictures-s3",
		corev1.KeyToPath{Key: "AWS_ACCESS_KEY_ID", Path: "pictures/AWS_ACCESS_KEY_ID"},
		corev1.KeyToPath{Key: "AWS_SECRET_ACCESS_KEY", Path: "pictures/AWS_SECRET_ACCESS_KEY"},
		corev1.KeyToPath{Key: "AWS_SESSION_TOKEN", Path: "pictures/AWS_SESSION_TOKEN"},
	)}
	if diff := cmp.Diff(want, template.Spec.Volumes[at].Projected.Sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
}

func projected(secret string, items ...corev1.KeyToPath) corev1.VolumeProjection {
	return corev1.VolumeProjection{Secret: &corev1.SecretProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Optional: new(true), Items: items}}
}

// TestKeysOfASecret mounts those that the store's cloud knows, and no others.
func TestKeysOfASecret(t *testing.T) {
	for url, keys := range map[string][]string{
		"gs://pictures":     {"GOOGLE_APPLICATION_CREDENTIALS"},
		"azblob://pictures": {"AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"},
	} {
		var items []corev1.KeyToPath
		for _, key := range keys {
			items = append(items, corev1.KeyToPath{Key: key, Path: "pictures/" + key})
		}
		got := projectStore(v1alpha1.OutputStore{Name: "pictures", URL: url, SecretRef: &v1alpha1.ObjectReference{Name: "cloud"}})
		if diff := cmp.Diff(projected("cloud", items...), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", url, diff)
		}
	}
}

// TestStoreOfAModel lends a store's credentials for what is below its URL at its endpoint.
func TestStoreOfAModel(t *testing.T) {
	const endpoint = "https://minio.example"
	pool := poolWith("")
	pool.Spec.Stores = []v1alpha1.OutputStore{
		{Name: "all", URL: "s3://models", Endpoint: endpoint},
		{Name: "large", URL: "s3://models/large", Endpoint: endpoint},
		{Name: "amazon", URL: "s3://amazon/models"},
	}
	for name, c := range map[string]struct {
		source v1alpha1.ModelSource
		want   string
	}{
		"the very URL":             {v1alpha1.ModelSource{Bucket: &v1alpha1.BucketSource{URL: "s3://models", Endpoint: endpoint}}, "all"},
		"an endpoint and a slash":  {v1alpha1.ModelSource{Bucket: &v1alpha1.BucketSource{URL: "s3://models", Endpoint: endpoint + "/"}}, "all"},
		"below it":                 {v1alpha1.ModelSource{Bucket: &v1alpha1.BucketSource{URL: "s3://models/sd15", Endpoint: endpoint}}, "all"},
		"the nearest above":        {v1alpha1.ModelSource{Bucket: &v1alpha1.BucketSource{URL: "s3://models/large/xl", Endpoint: endpoint}}, "large"},
		"a name that goes on":      {v1alpha1.ModelSource{Bucket: &v1alpha1.BucketSource{URL: "s3://models-of-others/sd15", Endpoint: endpoint}}, ""},
		"another endpoint":         {v1alpha1.ModelSource{Bucket: &v1alpha1.BucketSource{URL: "s3://models/sd15", Endpoint: "https://thief.example"}}, ""},
		"no endpoint, in the pool": {v1alpha1.ModelSource{Bucket: &v1alpha1.BucketSource{URL: "s3://amazon/models/sd15"}}, "amazon"},
		"above it":                 {v1alpha1.ModelSource{Bucket: &v1alpha1.BucketSource{URL: "s3://amazon"}}, ""},
		"another scheme":           {v1alpha1.ModelSource{Bucket: &v1alpha1.BucketSource{URL: "gs://amazon/models"}}, ""},
		"no bucket":                {v1alpha1.ModelSource{Path: "sd15"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			store := storeOfModel(&v1alpha1.Model{Spec: v1alpha1.ModelSpec{Source: c.source}}, pool)
			if (store == nil) != (c.want == "") || store != nil && store.Name != c.want {
				t.Errorf("got %+v, want %q", store, c.want)
			}
		})
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
		"the volume by name": {job: "volume", pool: "pictures"},
		"one to read from":   {job: "models", pool: "pictures", missing: true},
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
