// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	kjson "sigs.k8s.io/json"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// The names that a pool's template and the runner's image agree on.
const (
	runnerContainer = "runner"
	modelsVolume    = "models"
	outputsVolume   = "outputs"
	cacheVolume     = "cache"
	tmpVolume       = "tmp"
	modelsPath      = "/models"
	outputsPath     = "/outputs"
	cachePath       = "/cache"
	tmpPath         = "/tmp"
	httpPort        = "http"
	httpPortNumber  = 8080
)

// runnerGroup owns the volumes of a runner: the non-root group of the runner's image.
const runnerGroup int64 = 65532

// gracePeriod, in seconds, lets a runner end its denoising step and report.
const gracePeriod int64 = 30

// runnerTemplate returns what every pod of the pool has in common: the pool's own template
// with everything filled in that it leaves out. The error names the field at fault.
func runnerTemplate(pool *v1alpha1.RunnerPool, image string) (*corev1.PodTemplateSpec, error) {
	template, err := decodeTemplate(pool.Spec.Template)
	if err != nil {
		return nil, err
	}
	fillPod(&template.Spec)
	fillContainer(runnerContainerOf(&template.Spec), image)
	limitCache(&template.Spec)
	mountStores(&template.Spec, pool.Spec.Stores)
	template.Labels = merged(template.Labels, runnerLabels(pool.Name))
	hash, err := hashTemplate(template, pool.Spec.ServiceAccountAnnotations)
	if err != nil {
		return nil, err
	}
	template.Annotations = merged(template.Annotations, map[string]string{v1alpha1.AnnotationTemplateHash: hash})
	return template, nil
}

// decodeTemplate reads a pod template strictly: a field that Kubernetes does not know is
// refused rather than dropped.
func decodeTemplate(raw *runtime.RawExtension) (*corev1.PodTemplateSpec, error) {
	var template corev1.PodTemplateSpec
	if raw == nil {
		return &template, nil
	}
	unknown, err := kjson.UnmarshalStrict(raw.Raw, &template)
	if err := errors.Join(append(unknown, err)...); err != nil {
		return nil, fmt.Errorf("spec.template is not a core/v1 PodTemplateSpec: %w", err)
	}
	return &template, refuseOwnedFields(&template)
}

// refuseOwnedFields returns an error where a template sets what the manager has to set.
func refuseOwnedFields(template *corev1.PodTemplateSpec) error {
	for _, f := range []struct{ field, value, allowed, why string }{
		{"metadata.name", template.Name, "", "runners are named <pool>-<number>"},
		{"metadata.namespace", template.Namespace, "", "runners are in the pool's namespace"},
		{"spec.serviceAccountName", template.Spec.ServiceAccountName, "", "each runner has a service account of its own"},
		{"spec.restartPolicy", string(template.Spec.RestartPolicy), string(corev1.RestartPolicyAlways), "a runner that ends is started again"},
	} {
		if f.value != "" && f.value != f.allowed {
			return fmt.Errorf("spec.template.%s is %q and must be left out: %s", f.field, f.value, f.why)
		}
	}
	return nil
}

// fillPod fills in the pod-wide fields, so that the pod meets the restricted standard.
func fillPod(spec *corev1.PodSpec) {
	spec.RestartPolicy = corev1.RestartPolicyAlways
	fill(&spec.TerminationGracePeriodSeconds, gracePeriod)
	fill(&spec.EnableServiceLinks, false)
	fill(&spec.SecurityContext, corev1.PodSecurityContext{})
	fill(&spec.SecurityContext.RunAsNonRoot, true)
	fill(&spec.SecurityContext.FSGroup, runnerGroup)
	fill(&spec.SecurityContext.SeccompProfile, corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault})
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			restrict(&containers[i])
		}
	}
	for _, name := range []string{modelsVolume, outputsVolume, cacheVolume, tmpVolume} {
		if !slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == name }) {
			spec.Volumes = append(spec.Volumes, corev1.Volume{
				Name:         name,
				VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
			})
		}
	}
}

// runnerContainerOf returns the container named "runner", put first if the template has none.
func runnerContainerOf(spec *corev1.PodSpec) *corev1.Container {
	at := slices.IndexFunc(spec.Containers, func(c corev1.Container) bool { return c.Name == runnerContainer })
	if at < 0 {
		at = 0
		spec.Containers = slices.Insert(spec.Containers, at, corev1.Container{Name: runnerContainer})
	}
	return &spec.Containers[at]
}

// fillContainer fills in the runner's container.
func fillContainer(c *corev1.Container, image string) {
	if c.Image == "" {
		c.Image = image
	}
	if len(c.Command) == 0 && len(c.Args) == 0 {
		c.Args = []string{
			"serve", "--models-dir=" + modelsPath, "--outputs-dir=" + outputsPath, "--cache-dir=" + cachePath, "--listen=:" + strconv.Itoa(httpPortNumber),
		}
	}
	fillEnv(c, "RUNNER_NAME", "metadata.name")
	fillEnv(c, "POD_NAMESPACE", "metadata.namespace")
	fillEnv(c, "POD_UID", "metadata.uid")
	if !slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == httpPort }) {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: httpPort, ContainerPort: httpPortNumber, Protocol: corev1.ProtocolTCP})
	}
	// Ready quickly, as a job waits; dead only after a minute, as a generation may keep
	// every core busy.
	fill(&c.ReadinessProbe, corev1.Probe{ProbeHandler: httpGet("/readyz"), PeriodSeconds: 2, TimeoutSeconds: 2, FailureThreshold: 3})
	fill(&c.LivenessProbe, corev1.Probe{ProbeHandler: httpGet("/healthz"), PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 6})
	restrict(c)
	fill(&c.SecurityContext.ReadOnlyRootFilesystem, true)
	fillMount(c, corev1.VolumeMount{Name: modelsVolume, MountPath: modelsPath, ReadOnly: true})
	fillMount(c, corev1.VolumeMount{Name: outputsVolume, MountPath: outputsPath})
	fillMount(c, corev1.VolumeMount{Name: cacheVolume, MountPath: cachePath})
	fillMount(c, corev1.VolumeMount{Name: tmpVolume, MountPath: tmpPath})
}

// restrict fills in what the restricted standard asks of every container.
func restrict(c *corev1.Container) {
	fill(&c.SecurityContext, corev1.SecurityContext{})
	fill(&c.SecurityContext.AllowPrivilegeEscalation, false)
	fill(&c.SecurityContext.Capabilities, corev1.Capabilities{Drop: []corev1.Capability{"ALL"}})
}

// fill sets a field that is not set.
func fill[T any](field **T, value T) {
	if *field == nil {
		*field = new(value)
	}
}

// fillEnv adds a variable that the downward API provides.
func fillEnv(c *corev1.Container, name, fieldPath string) {
	if hasEnv(c, name) {
		return
	}
	c.Env = append(c.Env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: fieldPath},
	}})
}

func hasEnv(c *corev1.Container, name string) bool {
	return slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == name })
}

// fillMount adds a mount unless the template mounts something at that path.
func fillMount(c *corev1.Container, mount corev1.VolumeMount) {
	if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == mount.MountPath }) {
		c.VolumeMounts = append(c.VolumeMounts, mount)
	}
}

func httpGet(path string) corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString(httpPort)}}
}

// merged returns base with the entries of over, which win.
func merged(base, over map[string]string) map[string]string {
	all := make(map[string]string, len(base)+len(over))
	maps.Copy(all, base)
	maps.Copy(all, over)
	return all
}

// hashBytes is how much of the template's hash is kept: enough to tell a pool's own
// templates apart.
const hashBytes = 8

// hashTemplate tells apart what pods are made from. The annotations of their accounts are a
// part of it, as clouds give pods an identity when they are made, and only then.
func hashTemplate(template *corev1.PodTemplateSpec, annotations map[string]string) (string, error) {
	parts := []any{template}
	if len(annotations) > 0 {
		parts = append(parts, annotations)
	}
	var encoded []byte
	for _, part := range parts {
		data, err := json.Marshal(part)
		if err != nil {
			return "", fmt.Errorf("spec.template: %w", err)
		}
		encoded = append(encoded, data...)
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:hashBytes]), nil
}

// runnerPod makes the pod of one runner from the pool's filled-in template.
func runnerPod(pool *v1alpha1.RunnerPool, template *corev1.PodTemplateSpec, ordinal int) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        runnerNameOf(pool.Name, ordinal),
			Namespace:   pool.Namespace,
			Labels:      maps.Clone(template.Labels),
			Annotations: maps.Clone(template.Annotations),
		},
		Spec: *template.Spec.DeepCopy(),
	}
	pod.Spec.ServiceAccountName = pod.Name
	return pod
}
