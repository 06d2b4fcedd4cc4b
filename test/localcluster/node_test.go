// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package localcluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/atelier-dev/atelier/test/internal/child"
)

const sleepForever = "exec sleep 1000"

func TestSchedulerHonoursGPUs(t *testing.T) {
	f := newFixture(t, 2)
	f.create(withGPU(f.pod("first", "echo $CUDA_VISIBLE_DEVICES; "+sleepForever)))
	f.create(withGPU(f.pod("second", "echo $CUDA_VISIBLE_DEVICES; "+sleepForever)))
	f.ready("first")
	f.ready("second")
	f.create(withGPU(f.pod("third", sleepForever)))
	f.Eventually(func(g Gomega) {
		third := f.get("third")(g)
		g.Expect(condition(third, corev1.PodScheduled)).To(Equal(corev1.ConditionFalse))
		g.Expect(third.Status.Conditions[0].Message).To(ContainSubstring("Insufficient nvidia.com/gpu"))
	}).Should(Succeed())
	f.Eventually(func() []string { return []string{f.logs("first"), f.logs("second")} }).Should(ConsistOf("0\n", "1\n"))

	f.delete("first", 0)
	f.ready("third")
}

func TestAPodWithoutGPUsSeesNone(t *testing.T) {
	f := newFixture(t, 1)
	pod := f.pod("p", `echo "[$CUDA_VISIBLE_DEVICES]"`)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	f.create(pod)
	f.ended("p", corev1.PodSucceeded)
	f.Expect(f.logs("p")).To(Equal("[]\n"))
}

func TestKilledContainerFails(t *testing.T) {
	f := newFixture(t, 0)
	pod := f.pod("p", sleepForever)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	f.create(pod)
	f.Expect(cluster.KillContainer(f.ready("p"), "main")).To(Succeed())
	ended := f.ended("p", corev1.PodFailed)
	f.Expect(ended.Status.ContainerStatuses[0].State.Terminated.ExitCode).To(BeEquivalentTo(137))
	f.Expect(condition(ended, corev1.PodReady)).To(Equal(corev1.ConditionFalse))
}

func TestKilledContainerIsRestarted(t *testing.T) {
	f := newFixture(t, 0)
	f.create(f.pod("p", "echo run; "+sleepForever))
	before := f.ready("p")
	pid, err := cluster.PID(before, "main")
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(cluster.KillContainer(before, "main")).To(Succeed())
	f.Eventually(func(g Gomega) {
		status := f.container(g, "p")
		g.Expect(status.RestartCount).To(BeEquivalentTo(1))
		g.Expect(status.State.Running).NotTo(BeNil())
		g.Expect(status.LastTerminationState.Terminated).NotTo(BeNil())
		g.Expect(status.LastTerminationState.Terminated.ExitCode).To(BeEquivalentTo(137))
	}).Should(Succeed())
	f.Expect(child.Alive(pid)).To(BeFalse())
	f.Expect(f.ready("p").UID).To(Equal(before.UID))
}

func TestContainerThatKeepsEndingBacksOff(t *testing.T) {
	f := newFixture(t, 0)
	f.create(f.pod("p", "echo ended; exit 7"))
	f.Eventually(func(g Gomega) {
		status := f.container(g, "p")
		g.Expect(status.State.Waiting).NotTo(BeNil())
		g.Expect(status.State.Waiting.Reason).To(Equal("CrashLoopBackOff"))
		g.Expect(status.State.Waiting.Message).To(HavePrefix("back-off 2s restarting failed container=main"))
		g.Expect(status.RestartCount).To(BeEquivalentTo(1))
		g.Expect(status.LastTerminationState.Terminated.ExitCode).To(BeEquivalentTo(7))
	}).Should(Succeed())
	f.Eventually(func(g Gomega) {
		g.Expect(f.container(g, "p").RestartCount).To(BeEquivalentTo(2))
	}).Should(Succeed())
	f.Expect(f.logs("p", "--previous")).To(Equal("ended\n"))
	f.delete("p", 30)
	f.Eventually(f.exists("p"), 15*time.Second).Should(BeFalse(), "nothing runs, so that the grace period is not waited out")
}

func TestRestartPolicyOnFailure(t *testing.T) {
	f := newFixture(t, 0)
	// Fails the first time only: the directory is a volume, which outlives the container.
	pod := f.pod("p", "test -e /state/ran || { touch /state/ran; exit 1; }")
	pod.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	mountVolume(pod, "/state", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	f.create(pod)
	f.Expect(f.ended("p", corev1.PodSucceeded).Status.ContainerStatuses[0].RestartCount).To(BeEquivalentTo(1))
}

func TestInitContainersRunFirst(t *testing.T) {
	f := newFixture(t, 0)
	pod := f.pod("p", "cat /state/made; "+sleepForever)
	mountVolume(pod, "/state", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	prepare := pod.Spec.Containers[0]
	prepare.Name, prepare.Command = "prepare", []string{"/bin/sh", "-c", "echo prepared > /state/made"}
	pod.Spec.InitContainers = []corev1.Container{prepare}
	f.create(pod)
	f.Expect(condition(f.ready("p"), corev1.PodInitialized)).To(Equal(corev1.ConditionTrue))
	f.Eventually(func() string { return f.logs("p", "-c", "main") }).Should(Equal("prepared\n"))
}

func TestFailedInitContainerFailsThePod(t *testing.T) {
	f := newFixture(t, 0)
	pod := f.pod("p", "echo never")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	broken := pod.Spec.Containers[0]
	broken.Name, broken.Command = "prepare", []string{"/bin/sh", "-c", "exit 4"}
	pod.Spec.InitContainers = []corev1.Container{broken}
	f.create(pod)
	f.Expect(f.ended("p", corev1.PodFailed).Status.ContainerStatuses[0].State.Waiting).NotTo(BeNil())
}

func TestTerminationSendsTermThenKillsAfterTheGracePeriod(t *testing.T) {
	f := newFixture(t, 0)
	f.create(f.pod("polite", `trap 'exit 0' TERM; while :; do sleep 0.05; done`))
	f.create(f.pod("stubborn", `trap '' TERM; while :; do sleep 0.05; done`))
	f.ready("polite")
	pid, err := cluster.PID(f.ready("stubborn"), "main")
	f.Expect(err).NotTo(HaveOccurred())

	f.delete("polite", 20)
	f.Eventually(f.exists("polite"), 10*time.Second).Should(BeFalse())
	begin := time.Now()
	f.delete("stubborn", 2)
	f.Eventually(func(g Gomega) {
		alive := child.Alive(pid) // asked first: the object must not go before the process
		if !f.exists("stubborn")() {
			g.Expect(alive).To(BeFalse(), "the pod's object is gone and its process is not")
			return
		}
		g.Expect(f.exists("stubborn")()).To(BeFalse())
	}).WithPolling(5 * time.Millisecond).Should(Succeed())
	f.Expect(time.Since(begin)).To(BeNumerically(">=", 2*time.Second))
}

func TestDeletionWithoutGraceKillsAtOnce(t *testing.T) {
	f := newFixture(t, 1)
	pod := withGPU(f.pod("p", `trap '' TERM; while :; do sleep 0.05; done`))
	f.create(pod)
	pid, err := cluster.PID(f.ready("p"), "main")
	f.Expect(err).NotTo(HaveOccurred())
	f.delete("p", 0)
	f.Eventually(func() bool { return child.Alive(pid) }, 10*time.Second).Should(BeFalse())
	// A pod of the same name and on the same GPU follows.
	f.create(pod)
	f.ready("p")
}

func TestWhatAProcessLeavesBehindEndsWithIt(t *testing.T) {
	f := newFixture(t, 0)
	pod := f.pod("p", "sleep 1000 & echo $!")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	f.create(pod)
	f.ended("p", corev1.PodSucceeded)
	var pid int
	f.Expect(json.Unmarshal([]byte(f.logs("p")), &pid)).To(Succeed())
	f.Eventually(func() bool { return child.Alive(pid) }).Should(BeFalse())
}

func TestLogsAreFollowed(t *testing.T) {
	f := newFixture(t, 0)
	pod := f.pod("p", "for i in 1 2 3; do echo line $i; sleep 0.3; done")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	f.create(pod)
	f.Eventually(func(g Gomega) {
		g.Expect(f.get("p")(g).Status.ContainerStatuses).To(ContainElement(HaveField("ContainerID", Not(BeEmpty()))))
	}).Should(Succeed())
	f.Expect(f.logs("p", "--follow")).To(Equal("line 1\nline 2\nline 3\n"))
	f.Expect(f.logs("p", "--tail=1")).To(Equal("line 3\n"))
}

func TestExec(t *testing.T) {
	f := newFixture(t, 0)
	pod := f.pod("p", sleepForever)
	pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "COLOUR", Value: "red"}}
	f.create(pod)
	f.ready("p")
	out, err := cluster.KubectlOutput(t.Context(), "exec", "-n", f.name, "p", "--", "sh", "-c", "echo $COLOUR")
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(out).To(Equal("red\n"))
	out, err = cluster.KubectlOutput(t.Context(), "exec", "-n", f.name, "p", "--", "sh", "-c", "exit 3")
	f.Expect(err).To(HaveOccurred())
	f.Expect(out).To(ContainSubstring("exit code 3"))
}

func TestNobodyElseMayAskTheNode(t *testing.T) {
	f := newFixture(t, 0)
	node, err := f.client.CoreV1().Nodes().Get(t.Context(), f.name, metav1.GetOptions{})
	f.Expect(err).NotTo(HaveOccurred())
	response, err := httpClient(t, cluster.Config()).Get(fmt.Sprintf("https://127.0.0.1:%d/pods", node.Status.DaemonEndpoints.KubeletEndpoint.Port))
	f.Expect(err).NotTo(HaveOccurred())
	_ = response.Body.Close()
	f.Expect(response.StatusCode).To(Equal(http.StatusForbidden))
}

func TestTokenIsBoundToThePod(t *testing.T) {
	f := newFixture(t, 0)
	f.create(f.pod("p", `cat "$ATELIER_SERVICEACCOUNT_DIR/token"; `+sleepForever))
	pod := f.ready("p")
	f.Eventually(func() string { return f.logs("p") }).ShouldNot(BeEmpty())
	token := f.logs("p")

	review, err := f.client.AuthenticationV1().TokenReviews().Create(t.Context(),
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(review.Status.User.Username).To(Equal("system:serviceaccount:" + f.name + ":default"))
	f.Expect(review.Status.User.Extra).To(HaveKeyWithValue("authentication.kubernetes.io/pod-name", authenticationv1.ExtraValue{"p"}))
	f.Expect(review.Status.User.Extra).To(HaveKeyWithValue("authentication.kubernetes.io/pod-uid", authenticationv1.ExtraValue{string(pod.UID)}))
	f.Expect(review.Status.User.Extra).To(HaveKeyWithValue("authentication.kubernetes.io/node-name", authenticationv1.ExtraValue{f.name}))

	// It is a real identity, with no rights of its own.
	client, err := kubernetes.NewForConfig(cluster.TokenConfig(token))
	f.Expect(err).NotTo(HaveOccurred())
	_, err = client.CoreV1().Pods(f.name).List(t.Context(), metav1.ListOptions{})
	f.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)

	// It ends with the pod.
	f.delete("p", 0)
	f.Eventually(func() bool {
		_, err := client.CoreV1().Pods(f.name).List(t.Context(), metav1.ListOptions{})
		return apierrors.IsUnauthorized(err)
	}).Should(BeTrue())
}

func TestVolumes(t *testing.T) {
	f := newFixture(t, 0)
	host := t.TempDir()
	f.Expect(os.WriteFile(filepath.Join(host, "file"), []byte("of the host"), 0o600)).To(Succeed())
	_, err := f.client.CoreV1().ConfigMaps(f.name).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"a": "1", "b": "2"},
	}, metav1.CreateOptions{})
	f.Expect(err).NotTo(HaveOccurred())
	_, err = f.client.CoreV1().Secrets(f.name).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "keys"}, StringData: map[string]string{"key": "hidden"},
	}, metav1.CreateOptions{})
	f.Expect(err).NotTo(HaveOccurred())

	pod := f.pod("p", `for f in "$@"; do echo "$(cat $f)"; done; echo made > /host/made; echo $(ls /config)`)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Containers[0].Args = []string{"-", "/host/file", "/config/b", "/secret/as/named", "/fields/labels", "/all/a", "/all/key", "/all/name"}
	pod.Labels = map[string]string{"app": "demo"}
	mountVolume(pod, "/host", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: host}})
	mountVolume(pod, "/config", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}})
	mountVolume(pod, "/secret", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: "keys", Items: []corev1.KeyToPath{{Key: "key", Path: "as/named"}},
	}})
	labels := corev1.DownwardAPIVolumeFile{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}
	name := corev1.DownwardAPIVolumeFile{Path: "name", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}
	mountVolume(pod, "/fields", corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{labels}}})
	mountVolume(pod, "/all", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "keys"}}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{name}}},
	}}})
	f.create(pod)
	f.ended("p", corev1.PodSucceeded)
	f.Expect(strings.Split(strings.TrimSpace(f.logs("p")), "\n")).To(Equal([]string{
		"of the host", "2", "hidden", `app="demo"`, "1", "hidden", "p", "a b",
	}))
	f.Expect(os.ReadFile(filepath.Join(host, "made"))).To(BeEquivalentTo("made\n"))
}

func TestPodWaitsForItsConfigMap(t *testing.T) {
	f := newFixture(t, 0)
	pod := f.pod("p", sleepForever)
	mountVolume(pod, "/config", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "late"}}})
	f.create(pod)
	f.Eventually(func() string {
		out, err := cluster.KubectlOutput(t.Context(), "events", "-n", f.name, "--for=pod/p")
		f.Expect(err).NotTo(HaveOccurred())
		return out
	}).Should(And(ContainSubstring("FailedMount"), ContainSubstring("late")))
	_, err := f.client.CoreV1().ConfigMaps(f.name).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "late"}}, metav1.CreateOptions{})
	f.Expect(err).NotTo(HaveOccurred())
	f.ready("p")
}

func TestUnknownImageIsSaid(t *testing.T) {
	f := newFixture(t, 0)
	pod := f.pod("p", "")
	pod.Spec.Containers[0].Image = "example/unknown:v1"
	f.create(pod)
	f.Eventually(func(g Gomega) {
		waiting := f.container(g, "p").State.Waiting
		g.Expect(waiting).NotTo(BeNil())
		g.Expect(waiting.Reason).To(Equal("ErrImageNeverPull"))
		g.Expect(waiting.Message).To(Equal(`image "example/unknown:v1" is not on this node, which has: atelier-manager, atelier-runner, shell`))
	}).Should(Succeed())
	f.delete("p", 30)
	f.Eventually(f.exists("p")).Should(BeFalse())
}

func TestReadinessFollowsItsProbe(t *testing.T) {
	f := newFixture(t, 0)
	pod := f.pod("p", sleepForever)
	mountVolume(pod, "/state", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: t.TempDir()}})
	state := pod.Spec.Volumes[0].HostPath.Path
	pod.Spec.Containers[0].ReadinessProbe = execProbe("test -e " + state + "/ready")
	f.create(pod)
	f.Eventually(func(g Gomega) {
		p := f.get("p")(g)
		g.Expect(p.Status.Phase).To(Equal(corev1.PodRunning))
		g.Expect(condition(p, corev1.PodReady)).To(Equal(corev1.ConditionFalse))
	}).Should(Succeed())
	f.Expect(os.WriteFile(filepath.Join(state, "ready"), nil, 0o600)).To(Succeed())
	f.ready("p")
	f.Expect(os.Remove(filepath.Join(state, "ready"))).To(Succeed())
	f.Eventually(func(g Gomega) {
		p := f.get("p")(g)
		g.Expect(condition(p, corev1.PodReady)).To(Equal(corev1.ConditionFalse))
		g.Expect(p.Status.ContainerStatuses[0].RestartCount).To(BeZero())
	}).Should(Succeed())
}

func TestLivenessRestarts(t *testing.T) {
	f := newFixture(t, 0)
	pod := f.pod("p", "touch /state/alive; "+sleepForever)
	mountVolume(pod, "/state", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: t.TempDir()}})
	state := pod.Spec.Volumes[0].HostPath.Path
	pod.Spec.Containers[0].StartupProbe = execProbe("test -e " + state + "/alive")
	pod.Spec.Containers[0].LivenessProbe = execProbe("test -e " + state + "/alive")
	f.create(pod)
	f.ready("p")
	f.Expect(os.Remove(filepath.Join(state, "alive"))).To(Succeed())
	f.Eventually(func(g Gomega) {
		g.Expect(f.container(g, "p").RestartCount).To(BeEquivalentTo(1))
		g.Expect(condition(f.get("p")(g), corev1.PodReady)).To(Equal(corev1.ConditionTrue))
	}).Should(Succeed())
}

func TestTwoPodsListenOnTheSamePort(t *testing.T) {
	f := newFixture(t, 0)
	for _, name := range []string{"first", "second"} {
		// The control plane's own etcd is a server that is at hand anywhere.
		pod := f.pod(name, "")
		container := &pod.Spec.Containers[0]
		container.Command = []string{cluster.plane.binaries.etcd, "--listen-client-urls=http://0.0.0.0:8080",
			"--advertise-client-urls=http://localhost:8080", "--listen-peer-urls=http://127.0.0.1:0", "--data-dir=/data", "--log-level=error"}
		container.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
		container.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/health", Port: intstr.FromString("http")},
		}}
		mountVolume(pod, "/data", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
		f.create(pod)
	}
	first, second := f.ready("first"), f.ready("second")
	a, err := cluster.Address(first, 8080)
	f.Expect(err).NotTo(HaveOccurred())
	b, err := cluster.Address(second, 8080)
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(a).NotTo(Equal(b))
	response, err := http.Get("http://" + a + "/version")
	f.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	f.Expect(io.ReadAll(response.Body)).To(ContainSubstring("etcdserver"))
}

func TestEvictionIsKeptAsACondition(t *testing.T) {
	f := newFixture(t, 0)
	f.create(f.pod("p", `trap '' TERM; while :; do sleep 0.05; done`))
	f.ready("p")
	f.Expect(f.client.PolicyV1().Evictions(f.name).Evict(t.Context(), &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: f.name},
	})).To(Succeed())
	f.Eventually(func(g Gomega) {
		g.Expect(condition(f.get("p")(g), corev1.DisruptionTarget)).To(Equal(corev1.ConditionTrue))
	}).Should(Succeed())
	f.Eventually(f.exists("p")).Should(BeFalse())
}

func TestTaintDrivesPodsAway(t *testing.T) {
	f := newFixture(t, 0)
	f.create(f.pod("p", sleepForever))
	pid, err := cluster.PID(f.ready("p"), "main")
	f.Expect(err).NotTo(HaveOccurred())
	_, err = cluster.KubectlOutput(t.Context(), "taint", "node", f.name, "maintenance=now:NoExecute")
	f.Expect(err).NotTo(HaveOccurred())
	f.Eventually(f.exists("p")).Should(BeFalse())
	f.Expect(child.Alive(pid)).To(BeFalse())
}

func TestNodeRestartRunsItsPodsAgain(t *testing.T) {
	f := newFixture(t, 1)
	f.create(withGPU(f.pod("always", sleepForever)))
	never := f.pod("never", sleepForever)
	never.Spec.RestartPolicy = corev1.RestartPolicyNever
	f.create(never)
	f.ready("never")
	before := f.ready("always")
	pid, err := cluster.PID(before, "main")
	f.Expect(err).NotTo(HaveOccurred())

	f.stopNode()
	f.Expect(child.Alive(pid)).To(BeFalse())
	f.Expect(f.get("always")(f).Status.Phase).To(Equal(corev1.PodRunning), "a node that is down says nothing")

	f.startNode(1)
	f.Eventually(func(g Gomega) {
		status := f.container(g, "always")
		g.Expect(status.RestartCount).To(BeEquivalentTo(1))
		g.Expect(status.State.Running).NotTo(BeNil())
		g.Expect(status.LastTerminationState.Terminated.Reason).To(Equal("ContainerStatusUnknown"))
	}).Should(Succeed())
	f.Expect(f.ready("always").UID).To(Equal(before.UID))
	f.Expect(f.ended("never", corev1.PodFailed).Status.ContainerStatuses[0].State.Terminated.ExitCode).To(BeEquivalentTo(137))
	f.delete("never", 0)
	f.Eventually(f.exists("never")).Should(BeFalse())
}

func TestFilesOfAPodGoWithIt(t *testing.T) {
	f := newFixture(t, 0)
	f.create(f.pod("p", sleepForever))
	dir := filepath.Join(cluster.Dir(), "nodes", f.name, "pods", string(f.ready("p").UID))
	f.Expect(dir).To(BeADirectory())
	f.delete("p", 0)
	f.Eventually(dir).ShouldNot(BeADirectory())
}

// mountVolume adds a volume and mounts it into the first container.
func mountVolume(pod *corev1.Pod, path string, source corev1.VolumeSource) {
	name := "volume" + strings.ReplaceAll(path, "/", "-")
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
	container := &pod.Spec.Containers[0]
	container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path})
}

// execProbe asks once a second and believes one answer.
func execProbe(script string) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/sh", "-c", script}}},
		PeriodSeconds: 1, FailureThreshold: 1,
	}
}
