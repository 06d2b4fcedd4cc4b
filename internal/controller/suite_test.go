// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/atelier-dev/atelier/internal/controller"
	"github.com/atelier-dev/atelier/test/testenv"
)

var (
	env *testenv.Environment
	// admin may do anything; the manager and the runners act as what they are.
	admin   client.Client
	manager *runningManager
)

func TestControllers(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Controllers")
}

var _ = BeforeSuite(func() {
	ctrl.SetLogger(GinkgoLogr)
	SetDefaultEventuallyTimeout(15 * time.Second)
	SetDefaultEventuallyPollingInterval(20 * time.Millisecond)
	SetDefaultConsistentlyDuration(300 * time.Millisecond)

	var err error
	env, err = testenv.Start()
	DeferCleanup(func() error { return env.Stop() })
	Expect(err).NotTo(HaveOccurred())
	admin, err = client.New(env.Config, client.Options{Scheme: controller.NewScheme()})
	Expect(err).NotTo(HaveOccurred())
	manager = startManager()
	DeferCleanup(func() { manager.stop() })
})

// runningManager is a manager that can be stopped, as its pod can.
type runningManager struct {
	cancel context.CancelFunc
	done   chan error
}

// startManager runs the controllers as the service account of config/default, with no more
// rights than that has.
func startManager() *runningManager {
	GinkgoHelper()
	mgr, err := ctrl.NewManager(env.ServiceAccount("atelier-system", "atelier-manager", nil), ctrl.Options{
		Scheme:     controller.NewScheme(),
		Cache:      controller.CacheOptions(),
		Client:     controller.ClientOptions(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	Expect(controller.Setup(ctx, mgr, controller.Options{
		RunnerImage: "atelier-runner",
		Backoff:     controller.Backoff{Base: time.Second, Max: 2 * time.Second},
	})).To(Succeed())
	m := &runningManager{cancel: cancel, done: make(chan error, 1)}
	go func() { m.done <- mgr.Start(ctx) }()
	return m
}

// stop ends the manager and waits until it has ended.
func (m *runningManager) stop() {
	GinkgoHelper()
	m.cancel()
	Eventually(m.done).Should(Receive(BeNil()))
}

// newNamespace makes a namespace that lets only restricted pods in.
func newNamespace(ctx context.Context) string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "test-",
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	Expect(admin.Create(ctx, namespace)).To(Succeed())
	return namespace.Name
}
