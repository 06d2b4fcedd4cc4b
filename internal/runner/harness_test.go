// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gleak"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// runnerName and podUID are those of the Runner that the agent under test is.
const (
	runnerName           = "default-0"
	podUID     types.UID = "0b2f3c1e-6d53-4b57-9f0e-1a8f4f1c0a01"
)

// secretPrompt must never be logged.
const secretPrompt = "a garden that nobody may know of"

// cluster is a namespace of the API server, seen by its administrator, with directories
// for the volumes.
type cluster struct {
	*testing.T
	*WithT
	config    *rest.Config
	api       client.WithWatch
	namespace string
	models    string
	outputs   string
	seen      *witness
}

// newCluster makes an empty namespace with the models "cat" and "dog".
func newCluster(t *testing.T) *cluster {
	t.Helper()
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(10 * time.Second)
	g.SetDefaultEventuallyPollingInterval(5 * time.Millisecond)
	scheme := runtime.NewScheme()
	g.Expect(corev1.AddToScheme(scheme)).To(Succeed())
	g.Expect(rbacv1.AddToScheme(scheme)).To(Succeed())
	g.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	config := apiServer(t)
	expectNoLeak(t, g)
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	g.Expect(err).NotTo(HaveOccurred())
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "runner-"}}
	g.Expect(api.Create(t.Context(), namespace)).To(Succeed())
	c := &cluster{T: t, WithT: g, config: config, api: api, namespace: namespace.Name, models: t.TempDir(), outputs: t.TempDir()}
	for _, model := range []string{"cat", "dog"} {
		g.Expect(os.Mkdir(filepath.Join(c.models, model), 0o755)).To(Succeed())
	}
	c.seen = c.watch()
	return c
}

// expectNoLeak fails the test if goroutines outlive what it cleans up. Connections that
// are kept for the next test are not counted.
func expectNoLeak(t *testing.T, g *WithT) {
	before := gleak.Goroutines()
	t.Cleanup(func() {
		g.Eventually(gleak.Goroutines).ShouldNot(gleak.HaveLeaked(before,
			gleak.IgnoringInBacktrace("net/http.(*persistConn)"),
			gleak.IgnoringInBacktrace("http2ClientConn).readLoop"),
			gleak.IgnoringInBacktrace("http2.(*ClientConn).readLoop")))
	})
}

// runner makes the Runner of the pod, with assignments.
func (c *cluster) runner(assignments ...v1alpha1.Assignment) *v1alpha1.Runner {
	c.Helper()
	runner := &v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: runnerName},
		Spec:       v1alpha1.RunnerSpec{PoolName: "default", PodUID: podUID, Assignments: assignments},
	}
	c.Expect(c.api.Create(c.Context(), runner)).To(Succeed())
	return runner
}

// get reads the Runner.
func (c *cluster) get() *v1alpha1.Runner {
	c.Helper()
	runner := &v1alpha1.Runner{}
	c.Expect(c.api.Get(c.Context(), types.NamespacedName{Namespace: c.namespace, Name: runnerName}, runner)).To(Succeed())
	return runner
}

// assign makes these the assignments of the Runner, as the manager does.
func (c *cluster) assign(assignments ...v1alpha1.Assignment) {
	c.Helper()
	c.Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		runner := c.get()
		runner.Spec.Assignments = assignments
		return c.api.Update(c.Context(), runner)
	})).To(Succeed())
}

// setStatus writes the Runner's status, as an earlier process did.
func (c *cluster) setStatus(status v1alpha1.RunnerStatus) {
	c.Helper()
	runner := c.get()
	runner.Status = status
	c.Expect(c.api.Status().Update(c.Context(), runner)).To(Succeed())
}

// report gives what the Runner says of a job, or nil.
func (c *cluster) report(uid types.UID) *v1alpha1.AssignmentReport {
	c.Helper()
	for _, report := range c.get().Status.Assignments {
		if report.UID == uid {
			return &report
		}
	}
	return nil
}

// awaitPhase waits until the report on a job is in a phase, and gives it.
func (c *cluster) awaitPhase(uid types.UID, phase v1alpha1.Phase) *v1alpha1.AssignmentReport {
	c.Helper()
	var report *v1alpha1.AssignmentReport
	c.Eventually(func() v1alpha1.Phase {
		report = c.report(uid)
		if report == nil {
			return ""
		}
		return report.Phase
	}).Should(Equal(phase))
	return report
}

// awaitGone waits until the report on a job is gone.
func (c *cluster) awaitGone(uid types.UID) {
	c.Helper()
	c.Eventually(func() *v1alpha1.AssignmentReport { return c.report(uid) }).Should(BeNil())
}

// assignment makes an assignment of one small picture.
func assignment(uid types.UID, attempt int32, model string) v1alpha1.Assignment {
	return v1alpha1.Assignment{
		UID:             uid,
		Attempt:         attempt,
		JobName:         "job-" + string(uid),
		Model:           v1alpha1.AssignedModel{Name: model, UID: types.UID("uid-of-" + model), Generation: 1, Source: v1alpha1.ModelSource{Path: model}},
		Prompt:          secretPrompt,
		NegativePrompt:  secretPrompt,
		Steps:           4,
		GuidanceScale:   7.5,
		Seed:            7,
		Images:          1,
		OutputDirectory: "out/" + string(uid),
		OutputFormat:    v1alpha1.ImageFormatPNG,
	}
}

// process is one run of the agent.
type process struct {
	*cluster
	agent    *Agent
	pipeline *fakePipeline
	registry *prometheus.Registry
	line     *line
	log      *lockedBuffer
	sigterm  context.CancelFunc
	exit     chan error
}

// option changes how a process is started.
type option func(*settings)

type settings struct {
	pipeline Pipeline
	clock    clock.Clock
	rest     *rest.Config
	timeout  time.Duration
	config   Config
}

func withPipeline(p Pipeline) option            { return func(s *settings) { s.pipeline = p } }
func withClock(c clock.Clock) option            { return func(s *settings) { s.clock = c } }
func withRequestTimeout(d time.Duration) option { return func(s *settings) { s.timeout = d } }
func withRestConfig(c *rest.Config) option      { return func(s *settings) { s.rest = c } }
func withShutdown(d time.Duration) option       { return func(s *settings) { s.config.ShutdownTimeout = d } }
func withStartTime(at time.Time) option         { return func(s *settings) { s.config.StartTime = at } }

// start runs the agent until the test ends.
func (c *cluster) start(options ...option) *process {
	c.Helper()
	s := settings{
		pipeline: &fakePipeline{},
		clock:    clock.RealClock{},
		rest:     c.config,
		timeout:  requestTimeout,
		config: Config{
			PodUID:          podUID,
			ModelsDir:       c.models,
			OutputsDir:      c.outputs,
			Version:         "v0",
			StartTime:       time.Now(),
			ShutdownTimeout: 5 * time.Second,
			StopTimeout:     time.Minute,
		},
	}
	for _, option := range options {
		option(&s)
	}
	p := &process{cluster: c, registry: prometheus.NewRegistry(), line: &line{}, log: &lockedBuffer{}, exit: make(chan error, 1)}
	p.pipeline, _ = s.pipeline.(*fakePipeline)
	config := rest.CopyConfig(s.rest)
	config.Wrap(p.line.wrap)
	api, err := NewClient(config, c.namespace, runnerName)
	c.Expect(err).NotTo(HaveOccurred())
	api.timeout = s.timeout
	p.agent = New(s.config, api, s.pipeline, NewMetrics(p.registry), s.clock,
		slog.New(slog.NewJSONHandler(io.MultiWriter(p.log, c.Output()), nil)))
	ctx, cancel := context.WithCancel(context.Background())
	p.sigterm = cancel
	go func() { p.exit <- p.agent.Run(ctx) }()
	c.Cleanup(p.end)
	return p
}

// awaitDrawing waits until the pipeline is drawing.
func (p *process) awaitDrawing() {
	p.Helper()
	p.Eventually(p.pipeline.history).Should(ContainElement(HavePrefix("generate")))
}

// awaitExit waits until the process ends and gives its error.
func (p *process) awaitExit() (err error) {
	p.Helper()
	p.Eventually(p.exit).Should(Receive(&err))
	p.exit <- err // for whoever asks again
	return err
}

// end tells the process to end and waits for that.
func (p *process) end() {
	p.Helper()
	p.sigterm()
	_ = p.awaitExit()
	p.Expect(p.log.String()+libraryLog.String()).NotTo(ContainSubstring(secretPrompt), "a prompt was logged")
}

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// witness keeps every state of the Runner that an outside watcher sees.
type witness struct {
	mu     sync.Mutex
	states []v1alpha1.RunnerStatus
}

// watch starts a witness.
func (c *cluster) watch() *witness {
	c.Helper()
	w := &witness{}
	events, err := c.api.Watch(c.Context(), &v1alpha1.RunnerList{}, client.InNamespace(c.namespace))
	c.Expect(err).NotTo(HaveOccurred())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			if runner, ok := event.Object.(*v1alpha1.Runner); ok && event.Type != watch.Deleted {
				w.mu.Lock()
				w.states = append(w.states, runner.Status)
				w.mu.Unlock()
			}
		}
	}()
	c.Cleanup(func() { events.Stop(); <-done })
	return w
}

// all gives the states so far.
func (w *witness) all() []v1alpha1.RunnerStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.states)
}

// phases gives the phases and progress that a job was seen in, in order, such as
// "Initializing 1".
func (w *witness) phases(uid types.UID) []string {
	var phases []string
	for _, state := range w.all() {
		for _, report := range state.Assignments {
			if report.UID == uid {
				phases = append(phases, fmt.Sprintf("%s %d", report.Phase, report.Progress))
			}
		}
	}
	return slices.Compact(phases)
}

// metric gives a line of what the process serves at /metrics without its value.
func (p *process) metric(name string) string {
	p.Helper()
	families, err := p.registry.Gather()
	p.Expect(err).NotTo(HaveOccurred())
	var lines []string
	for _, family := range families {
		if family.GetName() == name {
			for _, metric := range family.GetMetric() {
				lines = append(lines, metric.String())
			}
		}
	}
	return strings.Join(lines, "\n")
}
