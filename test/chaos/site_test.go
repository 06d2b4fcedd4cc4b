// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package chaos kills processes of a whole cluster while jobs run, and wants of them what
// an undisturbed cluster does with them.
package chaos

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/controller"
	"github.com/atelier-dev/atelier/test/internal/pool"
	"github.com/atelier-dev/atelier/test/internal/repository"
	"github.com/atelier-dev/atelier/test/localcluster"
	"github.com/atelier-dev/atelier/test/localcluster/processnode"
)

// interrupted ends when the tests are to end early, so that they clean up.
var interrupted context.Context

func TestMain(m *testing.M) {
	var stop context.CancelFunc
	interrupted, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// What the clients of a killed server have to say is no news.
	discard := slog.New(slog.DiscardHandler)
	ctrl.SetLogger(klog.NewKlogr())
	klog.SetSlogLogger(discard)
	SetDefaultEventuallyTimeout(2 * time.Minute)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	code := m.Run()
	stop()
	os.Exit(code)
}

// quickBackoff of containers that keep ending, for where that is because they are killed.
var quickBackoff = processnode.Backoff{Base: 500 * time.Millisecond, Max: 2 * time.Second}

// site is a cluster with the manager installed.
type site struct {
	Gomega
	t       *testing.T
	ctx     context.Context
	cluster *localcluster.Cluster
	nodes   []localcluster.NodeOptions
	api     client.Client
	root    string
}

// newSite starts two nodes with two GPUs each and installs a directory of config/.
func newSite(t *testing.T, limit time.Duration, config string, backoff processnode.Backoff) *site {
	t.Helper()
	ctx, cancel := context.WithTimeout(interrupted, limit)
	t.Cleanup(cancel)
	s := &site{Gomega: NewWithT(t), t: t, ctx: ctx}
	for _, name := range []string{"node-1", "node-2"} {
		s.nodes = append(s.nodes, localcluster.NodeOptions{Name: name, GPUs: 2, Backoff: backoff})
	}
	var err error
	s.root, err = repository.Root()
	s.Expect(err).NotTo(HaveOccurred())
	for _, program := range []string{"manager", "runner"} {
		s.Expect(filepath.Join(s.root, "bin", program)).To(BeARegularFile(), "run `make build` first")
	}
	s.cluster, err = localcluster.Start(ctx, localcluster.Options{Root: s.root, Nodes: s.nodes})
	s.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if err := s.cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.Expect(s.cluster.Install(ctx, config)).To(Succeed())
	s.api, err = client.New(s.cluster.Config(), client.Options{Scheme: controller.NewScheme()})
	s.Expect(err).NotTo(HaveOccurred())
	return s
}

// models that jobs name, two, so that runners swap.
var models = []string{"tiny", "other"}

// open makes a namespace with models and a pool, and returns its directory of outputs.
func (s *site) open(namespace string, maxRunners int) (outputs string) {
	s.t.Helper()
	dir := filepath.Join(s.cluster.Dir(), namespace)
	outputs = filepath.Join(dir, "outputs")
	s.Expect(s.api.Create(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
	s.Expect(s.cluster.BindClaim(s.ctx, namespace, "models", filepath.Join(dir, "models"))).To(Succeed())
	s.Expect(s.cluster.BindClaim(s.ctx, namespace, "outputs", outputs)).To(Succeed())
	for _, name := range models {
		s.Expect(os.CopyFS(filepath.Join(dir, "models", name), os.DirFS(filepath.Join(s.root, "test/testdata/models/tiny")))).To(Succeed())
		s.Expect(s.api.Create(s.ctx, &v1alpha1.Model{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       v1alpha1.ModelSpec{Source: v1alpha1.ModelSource{Path: name}},
		})).To(Succeed())
	}
	spec := v1alpha1.RunnerPoolSpec{MaxRunners: new(int32(maxRunners)), IdleTimeout: new(v1alpha1.Duration("3s"))}
	s.Expect(s.api.Create(s.ctx, pool.New(namespace, spec, nil))).To(Succeed())
	return outputs
}

// podNames of a namespace, for Eventually.
func (s *site) podNames(namespace string) func() ([]string, error) {
	return func() ([]string, error) {
		var pods corev1.PodList
		if err := s.api.List(s.ctx, &pods, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
		names := []string{}
		for _, pod := range pods.Items {
			names = append(names, pod.Name)
		}
		return names, nil
	}
}
