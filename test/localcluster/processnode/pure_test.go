// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestRewrite(t *testing.T) {
	r := newRewriter([]mount{
		{container: "/models", host: "/host/m"},
		{container: "/models/cache", host: "/host/c"},
		{container: "/tmp", host: "/host/tmp"},
	}, map[int]int{8080: 20001, 9000: 20002})
	for _, test := range []struct{ in, want string }{
		{"/models", "/host/m"},
		{"/models/tiny", "/host/m/tiny"},
		{"/models/cache/x", "/host/c/x"},
		{"--dir=/models", "--dir=/host/m"},
		{"/bin:/models:/tmp/x", "/bin:/host/m:/host/tmp/x"},
		{"cat /models/a; ls '/tmp'", "cat /host/m/a; ls '/host/tmp'"},
		{"/models-old", "/models-old"},
		{"/models.bak", "/models.bak"},
		{"/srv/models", "/srv/models"},
		{"http://host/models", "http://host/models"},
		{":8080", "127.0.0.1:20001"},
		{"--listen=:8080", "--listen=127.0.0.1:20001"},
		{"0.0.0.0:9000", "127.0.0.1:20002"},
		{"[::]:9000", "127.0.0.1:20002"},
		{"http://localhost:8080/x", "http://127.0.0.1:20001/x"},
		{":80801", ":80801"},
		{":8081", ":8081"},
		{"10.0.0.1:8080", "10.0.0.1:8080"},
		{"8080", "8080"},
		{"atelier-runner:8080", "atelier-runner:8080"},
	} {
		if got := r.rewrite(test.in); got != test.want {
			t.Errorf("rewrite(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func TestRewriteDoesNotRewriteItsOwnResult(t *testing.T) {
	r := newRewriter([]mount{{container: "/tmp", host: "/tmp/pods/tmp"}}, map[int]int{8080: 9000, 9000: 8080})
	if got, want := r.rewrite("/tmp/x"), "/tmp/pods/tmp/x"; got != want {
		t.Errorf("rewrite(/tmp/x) = %q, want %q", got, want)
	}
	if got, want := r.rewrite(":8080 :9000"), "127.0.0.1:9000 127.0.0.1:8080"; got != want {
		t.Errorf("rewrite(:8080 :9000) = %q, want %q", got, want)
	}
}

func TestExpand(t *testing.T) {
	env := map[string]string{"A": "1", "B": "$(A)", "EMPTY": ""}
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"plain", "plain"},
		{"$(A)", "1"},
		{"x$(A)y$(EMPTY)z", "x1yz"},
		{"$(B)", "$(A)"},
		{"$(C)", "$(C)"},
		{"$$(A)", "$(A)"},
		{"$A", "$A"},
		{"$(A", "$(A"},
		{"$", "$"},
		{"a$", "a$"},
	} {
		if got := expand(test.in, env); got != test.want {
			t.Errorf("expand(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func TestImageArgv(t *testing.T) {
	// The host's program lies below a path that the container has a volume at.
	image := Image{Entrypoint: []string{"/tmp/host/run"}, Cmd: []string{"serve"}, Files: map[string]string{"/run": "/tmp/host/run"}}
	rewrite := newRewriter([]mount{{container: "/tmp", host: "/pods/tmp"}}, nil).rewrite
	for _, test := range []struct{ command, args, want []string }{
		{nil, nil, []string{"/tmp/host/run", "serve"}},
		{nil, []string{"--dir=/tmp/x"}, []string{"/tmp/host/run", "--dir=/pods/tmp/x"}},
		{[]string{"/run"}, []string{"/tmp/x"}, []string{"/tmp/host/run", "/pods/tmp/x"}},
		{[]string{"/tmp/script"}, nil, []string{"/pods/tmp/script"}},
		{[]string{"/bin/sh", "-c"}, []string{"ls"}, []string{"/bin/sh", "-c", "ls"}},
	} {
		if got := image.argv(test.command, test.args, rewrite); !slices.Equal(got, test.want) {
			t.Errorf("argv(%q, %q) = %q, want %q", test.command, test.args, got, test.want)
		}
	}
}

func TestFindImage(t *testing.T) {
	images := map[string]Image{"runner": {Cmd: []string{"short"}}, "example/runner:v2": {Cmd: []string{"exact"}}}
	for name, want := range map[string]string{
		"runner":                             "short",
		"runner:v1":                          "short",
		"registry.example:5000/x/runner:v1":  "short",
		"registry.example:5000/x/runner":     "short",
		"runner@sha256:0123456789":           "short",
		"registry.example/runner:v1@sha256:": "short",
		"example/runner:v2":                  "exact",
		"other":                              "",
		"runner-debug":                       "",
	} {
		image, ok := findImage(images, name)
		if ok != (want != "") || ok && image.Cmd[0] != want {
			t.Errorf("findImage(%q) = %v, %v, want %q", name, image, ok, want)
		}
	}
}

func TestRestartDelaysAreTheKubelets(t *testing.T) {
	r := restarts{backoff: Backoff{Base: 10 * time.Second, Max: 300 * time.Second}}
	for i, want := range []time.Duration{0, 10, 20, 40, 80, 160, 300, 300} {
		if got := r.delay(time.Second); got != want*time.Second {
			t.Errorf("delay before restart %d = %s, want %s", i+1, got, want*time.Second)
		}
	}
	if got := r.delay(11 * time.Minute); got != 0 {
		t.Errorf("delay after a long run = %s, want 0", got)
	}
}

func TestTally(t *testing.T) {
	verdict := newTally(&corev1.Probe{SuccessThreshold: 2, FailureThreshold: 3}, false)
	outcomes := []bool{true, false, true, true, false, false, true, false, false, false, true}
	got := make([]bool, 0, len(outcomes))
	for _, outcome := range outcomes {
		verdict.observe(outcome)
		got = append(got, verdict.healthy)
	}
	want := []bool{false, false, false, true, true, true, true, true, true, false, false}
	if !slices.Equal(got, want) {
		t.Errorf("verdicts = %v, want %v", got, want)
	}
}

func TestPhase(t *testing.T) {
	waiting := corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}
	running := corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	exited := func(code int32) corev1.ContainerStatus {
		return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
	}
	looping := waiting
	looping.LastTerminationState = exited(1).State
	for name, test := range map[string]struct {
		snapshot snapshot
		want     corev1.PodPhase
	}{
		"nothing started":       {snapshot{main: []corev1.ContainerStatus{waiting}}, corev1.PodPending},
		"one of two started":    {snapshot{main: []corev1.ContainerStatus{running, waiting}}, corev1.PodPending},
		"running":               {snapshot{main: []corev1.ContainerStatus{running}}, corev1.PodRunning},
		"waits for its restart": {snapshot{main: []corev1.ContainerStatus{looping}}, corev1.PodRunning},
		"between two runs":      {snapshot{main: []corev1.ContainerStatus{exited(1)}}, corev1.PodRunning},
		"all succeeded":         {snapshot{over: true, main: []corev1.ContainerStatus{exited(0), exited(0)}}, corev1.PodSucceeded},
		"one failed":            {snapshot{over: true, main: []corev1.ContainerStatus{exited(0), exited(137)}}, corev1.PodFailed},
		"init failed":           {snapshot{over: true, init: []corev1.ContainerStatus{exited(1)}, main: []corev1.ContainerStatus{waiting}}, corev1.PodFailed},
		"deleted before start":  {snapshot{over: true, main: []corev1.ContainerStatus{waiting}}, corev1.PodFailed},
		"not admitted":          {snapshot{over: true, reason: "UnexpectedAdmissionError"}, corev1.PodFailed},
	} {
		if got := test.snapshot.phase(); got != test.want {
			t.Errorf("%s: phase = %s, want %s", name, got, test.want)
		}
	}
}

func TestStatusKeepsTheConditionsOfOthers(t *testing.T) {
	before, after := metav1.Unix(100, 0), metav1.Unix(200, 0)
	pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: before},
		{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: before},
		{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: before},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: before},
	}}}
	ready := corev1.ContainerStatus{Name: "main", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	status := snapshot{pod: pod, main: []corev1.ContainerStatus{ready}}.status(after)
	for _, want := range []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: before},
		{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: before},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: before},
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: after},
		{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: after},
	} {
		if !slices.Contains(status.Conditions, want) {
			t.Errorf("conditions = %v, want %v among them", status.Conditions, want)
		}
	}
}

func TestInitialStatusOfAContainerThatRanBeforeTheNodeRestarted(t *testing.T) {
	container := &corev1.Container{Name: "main"}
	previous := []corev1.ContainerStatus{{
		Name: "main", ContainerID: "process://x/main/2", RestartCount: 2, Ready: true,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}
	got := initialStatus(container, previous, metav1.Unix(100, 0))
	if got.RestartCount != 2 || got.Ready || got.State.Terminated == nil || got.State.Terminated.ExitCode != 137 {
		t.Errorf("status = %+v, want not ready, 2 restarts, ended with 137", got)
	}
}

func TestGPUsAreGivenOnce(t *testing.T) {
	pod := func(count string) *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{GPUResource: resource.MustParse(count)}},
		}}}}
	}
	g := newGPUs(3)
	first, err := g.take(pod("2"))
	if err != nil || !slices.Equal(first, []int{0, 1}) {
		t.Fatalf("take(2) = %v, %v, want [0 1]", first, err)
	}
	if got, err := g.take(pod("2")); err == nil {
		t.Fatalf("take(2) of 1 = %v, want an error", got)
	}
	if got, err := g.take(pod("0")); err != nil || len(got) != 0 {
		t.Fatalf("take(0) = %v, %v, want none", got, err)
	}
	g.give(first)
	if got, err := g.take(pod("3")); err != nil || !slices.Equal(got, []int{0, 1, 2}) {
		t.Fatalf("take(3) = %v, %v, want [0 1 2]", got, err)
	}
}

func TestEnvironment(t *testing.T) {
	optional := true
	client := fake.NewClientset(
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "settings"}, Data: map[string]string{"COLOUR": "red"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "keys"}, Data: map[string][]byte{"key": []byte("s3")}},
	)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u", Labels: map[string]string{"app": "x"}},
		Spec:       corev1.PodSpec{NodeName: "n", ServiceAccountName: "sa"},
	}
	container := &corev1.Container{
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{
			corev1.ResourceMemory: resource.MustParse("1536Mi"), corev1.ResourceCPU: resource.MustParse("1500m"),
		}},
		EnvFrom: []corev1.EnvFromSource{{Prefix: "P_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}},
		Env: []corev1.EnvVar{
			{Name: "PLAIN", Value: "value"},
			{Name: "REF", Value: "$(PLAIN)-$(P_COLOUR)-$(LATER)"},
			{Name: "LATER", Value: "x"},
			field("NAME", "metadata.name"), field("NAMESPACE", "metadata.namespace"), field("UID", "metadata.uid"),
			field("LABEL", "metadata.labels['app']"), field("NODE", "spec.nodeName"), field("SA", "spec.serviceAccountName"), field("IP", "status.podIP"),
			{Name: "SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "keys"}, Key: "key"}}},
			{Name: "ABSENT", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Key: "key", Optional: &optional}}},
			{Name: "MEMORY", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}}},
			{Name: "CPUS", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
		},
	}
	got, err := environment(t.Context(), client, pod, container)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"P_COLOUR": "red", "PLAIN": "value", "REF": "value-red-$(LATER)", "LATER": "x", "NAME": "p", "NAMESPACE": "ns", "UID": "u",
		"LABEL": "x", "NODE": "n", "SA": "sa", "IP": "127.0.0.1", "SECRET": "s3", "MEMORY": "1536", "CPUS": "2",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("environment =\n%v, want\n%v", got, want)
	}
}

func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

func TestEnvironmentNamesWhatIsMissing(t *testing.T) {
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "settings"}})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}}
	container := &corev1.Container{Env: []corev1.EnvVar{{Name: "V", ValueFrom: &corev1.EnvVarSource{
		ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Key: "colour"},
	}}}}
	_, err := environment(t.Context(), client, pod, container)
	if want := `env V: ConfigMap settings has no key "colour"`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestSeekTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("one\ntwo\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for lines, want := range map[int]string{0: "one\ntwo\nthree\n", 1: "three\n", 2: "two\nthree\n", 3: "one\ntwo\nthree\n", 9: "one\ntwo\nthree\n"} {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		err = seekTail(file, lines)
		got, readErr := io.ReadAll(file)
		if err := errors.Join(err, readErr, file.Close()); err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("last %d lines = %q, want %q", lines, got, want)
		}
	}
}

func TestShutdownIsOnlyMadeShorter(t *testing.T) {
	s := newShutdown()
	if s.hasBegun() {
		t.Fatal("begun before begin")
	}
	s.begin(time.Hour)
	if !s.hasBegun() {
		t.Fatal("not begun after begin")
	}
	s.begin(2 * time.Hour)
	s.begin(0)
	select {
	case <-s.over:
	case <-time.After(10 * time.Second):
		t.Fatal("a second begin without grace did not end the first one's")
	}
	s.begin(time.Hour)
}
