// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/controller"
	"github.com/atelier-dev/atelier/test/internal/pool"
	"github.com/atelier-dev/atelier/test/internal/repository"
	"github.com/atelier-dev/atelier/test/localcluster"
)

// manifest is what `make test-e2e` writes: config/default with the names of the images.
const manifest = "dist/install.yaml"

// The cluster of all tests in the sandbox.
var (
	root    string
	cluster *localcluster.Cluster
	machine *node
	api     client.Client
)

// suite is the process in the sandbox that has the cluster and runs the tests.
func suite(m *testing.M) int {
	ctrl.SetLogger(klog.NewKlogr())
	if err := startCluster(context.Background()); err != nil {
		return report(err)
	}
	if os.Getenv(holdEnv) != "" {
		fmt.Printf("%s in %s\n", held, os.Getenv(sandboxEnv))
		select {}
	}
	// Everything ends with process 1 of the namespaces, which waits for nothing but this.
	return runTests(m, cmp.Or(os.Getenv(podTestsEnv), "^TestPod"))
}

func startCluster(ctx context.Context) error {
	var err error
	if root, err = repository.Root(); err != nil {
		return err
	}
	begin := time.Now()
	cluster, err = localcluster.Start(ctx, localcluster.Options{
		Root: root, Nodes: []localcluster.NodeOptions{}, APIServerPort: 443,
		// Pods reach it at the address of its Service.
		ExtraArgs: localcluster.ExtraArgs{APIServer: []string{"--bind-address=0.0.0.0"}},
	})
	if err != nil {
		return err
	}
	// It reads logs as the one that the kubelet's API is bound to.
	if _, err := cluster.KubectlOutput(ctx, "create", "clusterrolebinding", "api-server-to-kubelet",
		"--clusterrole=system:kubelet-api-admin", "--user="+localcluster.KubeletClientUser); err != nil {
		return err
	}
	fmt.Printf("control plane ready after %.1f s\n", time.Since(begin).Seconds())
	if api, err = client.New(cluster.Config(), client.Options{Scheme: controller.NewScheme()}); err != nil {
		return err
	}
	if machine, err = newNode(cluster, os.Getenv(sandboxEnv), os.Getenv(binariesEnv)); err != nil {
		return err
	}
	begin = time.Now()
	if err := machine.start(ctx); err != nil {
		return err
	}
	fmt.Printf("node ready after %.1f s\n", time.Since(begin).Seconds())
	if err := machine.importImages(root); err != nil {
		return err
	}
	begin = time.Now()
	if err := cluster.InstallFile(ctx, manifest); err != nil {
		pods, _ := cluster.KubectlOutput(ctx, "describe", "pods", "-A") // for the reader of the error
		return fmt.Errorf("%w\n%s", err, pods)
	}
	fmt.Printf("manager Available after %.1f s\n", time.Since(begin).Seconds())
	return nil
}

// studio is a namespace in which only restricted pods may run, with models and a pool.
type studio struct {
	Gomega
	t         *testing.T
	ctx       context.Context
	namespace string
	outputs   string
}

// model is the one that the jobs name.
const model = "fluent-emoji"

// storageLimit is how many bytes a runner may have on the node's disk.
const storageLimit = 64 << 20

// open makes a studio whose runners may have that much memory.
func open(t *testing.T, memory string) *studio {
	t.Helper()
	s := &studio{Gomega: NewWithT(t), t: t, ctx: t.Context()}
	s.SetDefaultEventuallyTimeout(3 * time.Minute)
	s.SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "studio-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	s.Expect(api.Create(s.ctx, namespace)).To(Succeed())
	s.namespace = namespace.Name
	dir := filepath.Join(os.Getenv(sandboxEnv), s.namespace)
	models := filepath.Join(dir, "models")
	s.outputs = filepath.Join(dir, "outputs")
	s.Expect(cluster.BindClaim(s.ctx, s.namespace, "models", models)).To(Succeed())
	s.Expect(cluster.BindClaim(s.ctx, s.namespace, "outputs", s.outputs)).To(Succeed())
	s.Expect(os.CopyFS(filepath.Join(models, model), os.DirFS(filepath.Join(root, "test/testdata/models", model)))).To(Succeed())
	// The kubelet gives no volume of the host to the group of the pod.
	s.Expect(errors.Join(os.Chmod(os.Getenv(sandboxEnv), 0o755), os.Chmod(s.outputs, 0o777))).To(Succeed()) //nolint:gosec // as above
	s.Expect(api.Create(s.ctx, &v1alpha1.Model{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: model},
		Spec:       v1alpha1.ModelSpec{Source: v1alpha1.ModelSource{Path: model}},
	})).To(Succeed())
	limits := corev1.ResourceList{
		corev1.ResourceMemory: resource.MustParse(memory), corev1.ResourceEphemeralStorage: *resource.NewQuantity(storageLimit, resource.BinarySI),
	}
	s.Expect(api.Create(s.ctx, pool.New(s.namespace, v1alpha1.RunnerPoolSpec{}, limits))).To(Succeed())
	t.Cleanup(func() {
		// The GPUs are for the next test.
		_, err := cluster.KubectlOutput(context.WithoutCancel(s.ctx), "delete", "namespace", s.namespace, "--timeout=2m")
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
	})
	return s
}

// submit creates a job of so many steps, of which a runner makes some forty a second.
func (s *studio) submit(name string, steps int32) {
	s.t.Helper()
	s.Expect(api.Create(s.ctx, &v1alpha1.GenerationJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec: v1alpha1.GenerationJobSpec{
			ModelRef: v1alpha1.ObjectReference{Name: model}, Prompt: "a red apple", Seed: new(int64(42)), Steps: &steps,
			BackoffLimit: new(int32(1)),
		},
	})).To(Succeed())
}

func (s *studio) job(name string) *v1alpha1.GenerationJob {
	s.t.Helper()
	job := &v1alpha1.GenerationJob{}
	s.Expect(api.Get(s.ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, job)).To(Succeed())
	return job
}

// awaitPhase waits until the job is in a phase, and returns it. One that has failed instead is
// shown.
func (s *studio) awaitPhase(name string, phase v1alpha1.Phase) *v1alpha1.GenerationJob {
	s.t.Helper()
	var job *v1alpha1.GenerationJob
	s.Eventually(func() v1alpha1.Phase {
		job = s.job(name)
		if job.Status.Phase == v1alpha1.PhaseFailed && phase != v1alpha1.PhaseFailed {
			StopTrying(fmt.Sprintf("job %s failed: %v", name, job.Status.Conditions)).Now()
		}
		return job.Status.Phase
	}).Should(Equal(phase), func() string {
		pods, _ := cluster.KubectlOutput(s.ctx, "describe", "pods", "-n", s.namespace) // for the reader of the failure
		return pods
	})
	return job
}

// awaitDrawing waits until the job's pictures are being drawn, beyond the first step.
func (s *studio) awaitDrawing(name string) *v1alpha1.GenerationJob {
	s.t.Helper()
	s.Eventually(func() int32 { return s.job(name).Status.Progress }).Should(BeNumerically(">", v1alpha1.ProgressGenerating))
	return s.job(name)
}

// pod is the runner's.
func (s *studio) pod() *corev1.Pod {
	s.t.Helper()
	pod := &corev1.Pod{}
	s.Expect(api.Get(s.ctx, client.ObjectKey{Namespace: s.namespace, Name: "default-0"}, pod)).To(Succeed())
	return pod
}

// process is the one of a pod's first container.
func (s *studio) process(pod *corev1.Pod) int {
	s.t.Helper()
	s.Expect(pod.Status.ContainerStatuses).NotTo(BeEmpty())
	pid, err := processOf(pod.Status.ContainerStatuses[0].ContainerID)
	s.Expect(err).NotTo(HaveOccurred())
	return pid
}
