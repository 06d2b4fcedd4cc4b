// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e says, as specs, what Atelier does, and checks it from outside: on a real
// API server, with the manager installed from config/default, runners on a node that is
// scheduled by the real scheduler, and models that ONNX Runtime really runs.
//
// What can't be brought about from outside is tested where it can: that a corrupted
// pipeline is found, reloaded and reported, on a real API server and with ONNX Runtime,
// in internal/runner; that pictures equal those of Python's diffusers in internal/pipeline.
package e2e

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/test/internal/repository"
	"github.com/atelier-dev/atelier/test/localcluster"
)

// gpuCount is enough for each spec to have runners of its own.
const gpuCount = 64

var (
	cluster *localcluster.Cluster
	// api speaks as the cluster's administrator.
	api client.WithWatch
	// root is the repository's top directory.
	root string
)

func TestE2E(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Atelier, from outside")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	ctrl.SetLogger(GinkgoLogr)
	klog.SetLogger(GinkgoLogr)
	SetDefaultEventuallyTimeout(60 * time.Second)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	var err error
	root, err = repository.Root()
	Expect(err).NotTo(HaveOccurred())
	for _, program := range []string{"manager", "runner"} {
		Expect(filepath.Join(root, "bin", program)).To(BeARegularFile(), "run `make build` first")
	}
	cluster, err = localcluster.Start(ctx, localcluster.Options{
		Root:  root,
		Nodes: []localcluster.NodeOptions{{Name: "node-1", GPUs: gpuCount}},
		Log:   slog.New(slog.NewTextHandler(GinkgoWriter, nil)),
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(cluster.Stop()).To(Succeed()) })

	begin := time.Now()
	Expect(cluster.Install(ctx, "config/default")).To(Succeed())
	AddReportEntry("start", "control plane "+cluster.StartTimes.ControlPlane.String()+", manager Available after "+time.Since(begin).String())
	api, err = client.NewWithWatch(cluster.Config(), client.Options{Scheme: scheme()})
	Expect(err).NotTo(HaveOccurred())
	awaitPolicies(ctx)
}, NodeTimeout(3*time.Minute))

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(s)).To(Succeed())
	Expect(v1alpha1.AddToScheme(s)).To(Succeed())
	return s
}

// awaitPolicies waits until the API server enforces the admission policies, which it
// does some time after they were created.
func awaitPolicies(ctx context.Context) {
	GinkgoHelper()
	manifest := `
apiVersion: generation.atelier.dev/v1alpha1
kind: GenerationJob
metadata: {name: probe, namespace: default}
spec: {modelRef: {name: none}, prompt: none, precomputeEmbedding: true}`
	Eventually(func() (string, error) {
		return cluster.KubectlInput(ctx, manifest, "apply", "--dry-run=server", "-f", "-")
	}).Should(ContainSubstring("Warning"))
}

// Where a spec fails, what the cluster says of it is worth more than a stack.
var _ = AfterEach(func(ctx SpecContext) {
	if !CurrentSpecReport().Failed() || cluster == nil {
		return
	}
	for _, args := range [][]string{
		{"get", "generationjobs,models,runnerpools,runners,pods", "-A", "-o", "wide"},
		{"get", "generationjobs", "-A", "-o", "yaml"},
		{"logs", "-n", "atelier-system", "deployment/atelier-manager", "--tail=60"},
	} {
		out, err := cluster.KubectlOutput(ctx, args...)
		if err != nil {
			out = err.Error()
		}
		AddReportEntry("kubectl "+strings.Join(args, " "), out, ReportEntryVisibilityFailureOrVerbose)
	}
})

// copyModel copies a model directory of the repository.
func copyModel(name, to string) {
	GinkgoHelper()
	Expect(os.CopyFS(to, os.DirFS(filepath.Join(root, "test", "testdata", "models", name)))).To(Succeed())
}
