// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func poolWith(template string) *v1alpha1.RunnerPool {
	pool := &v1alpha1.RunnerPool{ObjectMeta: metav1.ObjectMeta{Namespace: "studio", Name: "gpu"}}
	if template != "" {
		pool.Spec.Template = &runtime.RawExtension{Raw: []byte(template)}
	}
	return pool
}

func podOf(t *testing.T, template string) *corev1.Pod {
	t.Helper()
	pool := poolWith(template)
	filled, err := runnerTemplate(pool, "atelier-runner")
	if err != nil {
		t.Fatal(err)
	}
	return runnerPod(pool, filled, 3)
}

func TestPodWithoutATemplate(t *testing.T) {
	pod := podOf(t, "")
	if pod.Name != "gpu-3" || pod.Spec.ServiceAccountName != "gpu-3" || pod.Namespace != "studio" {
		t.Errorf("pod %s/%s with service account %s", pod.Namespace, pod.Name, pod.Spec.ServiceAccountName)
	}
	if pod.Labels[v1alpha1.LabelPool] != "gpu" || pod.Labels["app.kubernetes.io/managed-by"] != managedBy {
		t.Errorf("labels %v", pod.Labels)
	}
	spec, c := pod.Spec, pod.Spec.Containers[0]
	if c.Image != "atelier-runner" || !cmp.Equal(c.Args, []string{"serve", "--models-dir=/models", "--outputs-dir=/outputs", "--cache-dir=/cache", "--listen=:8080"}) || len(c.Command) != 0 {
		t.Errorf("image %s, command %v, args %v", c.Image, c.Command, c.Args)
	}
	names := make([]string, 0, len(spec.Volumes))
	for _, v := range spec.Volumes {
		names = append(names, v.Name)
	}
	if want := []string{"models", "outputs", "cache", "tmp"}; !cmp.Equal(names, want) {
		t.Errorf("volumes %v, want %v", names, want)
	}
	mounts := map[string]bool{}
	for _, m := range c.VolumeMounts {
		mounts[m.MountPath] = m.ReadOnly
	}
	if want := map[string]bool{"/models": true, "/outputs": false, "/cache": false, "/tmp": false}; !cmp.Equal(mounts, want) {
		t.Errorf("mounts, read-only or not: %v, want %v", mounts, want)
	}
	fields := map[string]string{}
	for _, e := range c.Env {
		fields[e.Name] = e.ValueFrom.FieldRef.FieldPath
	}
	if want := map[string]string{"RUNNER_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid"}; !cmp.Equal(fields, want) {
		t.Errorf("environment %v, want %v", fields, want)
	}
	if len(c.Resources.Limits) != 0 {
		t.Errorf("a GPU nobody asked for: %v", c.Resources.Limits)
	}
	if *spec.TerminationGracePeriodSeconds != 30 || spec.RestartPolicy != corev1.RestartPolicyAlways {
		t.Errorf("grace %d, restart %s", *spec.TerminationGracePeriodSeconds, spec.RestartPolicy)
	}
}

func TestPodKeepsWhatItsTemplateSays(t *testing.T) {
	pod := podOf(t, `{
		"metadata": {"labels": {"team": "art", "app.kubernetes.io/managed-by": "me"}, "annotations": {"a": "b"}},
		"spec": {
			"nodeSelector": {"gpu": "yes"},
			"terminationGracePeriodSeconds": 5,
			"securityContext": {"fsGroup": 7},
			"containers": [
				{"name": "sidecar", "image": "side"},
				{"name": "runner", "image": "mine", "command": ["/runner"],
				 "resources": {"limits": {"nvidia.com/gpu": 1}},
				 "env": [{"name": "POD_UID", "value": "mine"}],
				 "securityContext": {"readOnlyRootFilesystem": false},
				 "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}]}
			],
			"volumes": [{"name": "models", "hostPath": {"path": "/srv/models"}}, {"name": "scratch", "emptyDir": {}}]
		}
	}`)
	c := pod.Spec.Containers[1]
	gpus := c.Resources.Limits["nvidia.com/gpu"]
	for what, right := range map[string]bool{
		"its label":                     pod.Labels["team"] == "art",
		"its annotation":                pod.Annotations["a"] == "b",
		"its node selector":             pod.Spec.NodeSelector["gpu"] == "yes",
		"its grace":                     *pod.Spec.TerminationGracePeriodSeconds == 5,
		"its group":                     *pod.Spec.SecurityContext.FSGroup == 7,
		"its sidecar":                   pod.Spec.Containers[0].Name == "sidecar",
		"a sidecar restricted as well":  !*pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation && pod.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem == nil,
		"its image":                     c.Image == "mine",
		"its command, without our args": len(c.Args) == 0,
		"its GPU":                       gpus.Value() == 1,
		"its variable":                  c.Env[0].Value == "mine" && len(c.Env) == 3,
		"its writable root":             !*c.SecurityContext.ReadOnlyRootFilesystem,
		"its mount at /tmp":             c.VolumeMounts[0].Name == "scratch" && len(c.VolumeMounts) == 4,
		"its models":                    pod.Spec.Volumes[0].HostPath.Path == "/srv/models" && len(pod.Spec.Volumes) == 5,
		"but runs as non-root":          *pod.Spec.SecurityContext.RunAsNonRoot,
		"and without more privileges":   !*c.SecurityContext.AllowPrivilegeEscalation,
		"and is the manager's":          pod.Labels["app.kubernetes.io/managed-by"] == managedBy,
	} {
		if !right {
			t.Errorf("the pod does not keep %s", what)
		}
	}
}

func TestTemplatesThatAreRefused(t *testing.T) {
	for template, want := range map[string]string{
		`{"spec": {"containers": [{"name": "runner", "imag": "x"}]}}`: `unknown field "spec.containers[0].imag"`,
		`{"sepc": {}}`:                         `unknown field "sepc"`,
		`{"spec": {"nodeSelector": {"a": 1}}}`: "cannot unmarshal number into Go struct field PodSpec.spec.nodeSelector of type string",
		`{"spec": {"containers": [{"resources": {"limits": {"cpu": "a lot"}}}]}}`: "quantities must match",
		`{"spec": {"serviceAccountName": "admin"}}`:                               `spec.template.spec.serviceAccountName is "admin" and must be left out: each runner has a service account of its own`,
		`{"spec": {"restartPolicy": "Never"}}`:                                    `spec.template.spec.restartPolicy is "Never" and must be left out`,
		`{"metadata": {"name": "mine"}}`:                                          `spec.template.metadata.name is "mine" and must be left out`,
		`{"metadata": {"namespace": "elsewhere"}}`:                                `spec.template.metadata.namespace is "elsewhere"`,
	} {
		_, err := runnerTemplate(poolWith(template), "atelier-runner")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "spec.template") {
			t.Errorf("%s\n got %v\nwant %s", template, err, want)
		}
	}
}

func TestTemplateHash(t *testing.T) {
	hash := func(template, image string) string {
		t.Helper()
		filled, err := runnerTemplate(poolWith(template), image)
		if err != nil {
			t.Fatal(err)
		}
		return templateHash(filled)
	}
	same, again := hash(`{"spec": {"priority": 1, "hostname": "a"}}`, "x"), hash(`{"spec":{"hostname":"a","priority":1}}`, "x")
	if same != again {
		t.Error("the order of fields changes the hash")
	}
	if same == hash(`{"spec": {"priority": 2, "hostname": "a"}}`, "x") || same == hash(`{"spec": {"priority": 1, "hostname": "a"}}`, "y") {
		t.Error("a change of the template or the image leaves the hash as it was")
	}
}

func TestOrdinals(t *testing.T) {
	for name, want := range map[string]int{"gpu-0": 0, "gpu-17": 17, "gpu-": -1, "gpu-x": -1, "gpu--1": -1, "gpux-1": -1, "gpu-a-1": -1} {
		ordinal, ok := ordinalOf("gpu", name)
		if ok != (want >= 0) || ok && ordinal != want {
			t.Errorf("%s has ordinal %d, %t", name, ordinal, ok)
		}
	}
}

// TestAnnotationsOfAccountsMakeAnotherTemplate, as clouds give pods an identity when they are
// made; a pool without them has the template that it always had.
func TestAnnotationsOfAccountsMakeAnotherTemplate(t *testing.T) {
	hashes := map[string]bool{}
	for _, annotations := range []map[string]string{nil, {}, {"eks.amazonaws.com/role-arn": "a"}, {"eks.amazonaws.com/role-arn": "b"}} {
		pool := poolWith("")
		pool.Spec.ServiceAccountAnnotations = annotations
		template, err := runnerTemplate(pool, "atelier-runner")
		if err != nil {
			t.Fatal(err)
		}
		hashes[template.Annotations[v1alpha1.AnnotationTemplateHash]] = true
		if len(template.Annotations) != 1 {
			t.Errorf("the pod has the account's annotations: %v", template.Annotations)
		}
	}
	if len(hashes) != 3 {
		t.Errorf("there are %d templates, want 3", len(hashes))
	}
}

// TestAnnotated keeps what others put on an account, and takes back what the pool had.
func TestAnnotated(t *testing.T) {
	const list = v1alpha1.AnnotationPoolAnnotations
	for name, c := range map[string]struct{ have, pool, want map[string]string }{
		"none":      {want: map[string]string{}},
		"first":     {pool: map[string]string{"role": "a"}, want: map[string]string{"role": "a", list: "role"}},
		"changed":   {have: map[string]string{"role": "a", list: "role"}, pool: map[string]string{"role": "b"}, want: map[string]string{"role": "b", list: "role"}},
		"same":      {have: map[string]string{"role": "b", list: "role"}, pool: map[string]string{"role": "b"}, want: map[string]string{"role": "b", list: "role"}},
		"another":   {have: map[string]string{"role": "a", list: "role"}, pool: map[string]string{"id": "7", "zone": "1"}, want: map[string]string{"id": "7", "zone": "1", list: "id zone"}},
		"taken off": {have: map[string]string{"role": "a", "theirs": "x", list: "role"}, want: map[string]string{"theirs": "x"}},
		"theirs":    {have: map[string]string{"theirs": "x"}, pool: map[string]string{"role": "a"}, want: map[string]string{"theirs": "x", "role": "a", list: "role"}},
	} {
		if diff := cmp.Diff(c.want, annotated(c.have, c.pool)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
