// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/artifact"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// recordingRuntime is a runtime that remembers the sessions it opened.
type recordingRuntime struct {
	ort.Runtime

	mu       sync.Mutex
	sessions map[string]ort.Session
}

func (r *recordingRuntime) Open(path string, graph ort.Graph, outputs ...string) (ort.Session, error) {
	session, err := r.Runtime.Open(path, graph, outputs...)
	if err == nil {
		r.mu.Lock()
		r.sessions[filepath.Base(filepath.Dir(path))] = session
		r.mu.Unlock()
	}
	return session, err
}

// destroy closes the session of a part behind the pipeline's back.
func (r *recordingRuntime) destroy(part string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions[part].Close()
}

// realModel copies a model of testdata to the models volume.
func (c *cluster) realModel(name, as string) (dir string) {
	c.Helper()
	dir = filepath.Join(c.models, as)
	c.Expect(os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "test", "testdata", "models", name)))).To(Succeed())
	return dir
}

// TestRealPipeline runs jobs on ONNX Runtime: two of one model with the same seed, then
// one after the pipeline lost its denoising network.
func TestRealPipeline(t *testing.T) {
	c := newCluster(t)
	c.realModel("tiny", "tiny")
	runtime := &recordingRuntime{Runtime: ort.New(ort.Options{Device: ort.CPU}), sessions: map[string]ort.Session{}}
	c.runner(assignment("a", 1, "tiny"))
	c.start(withPipeline(pipeline.New(runtime)))

	first := c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.Eventually(func() []string { return c.seen.phases("a") }).Should(ContainElements(jobPhases))
	status := c.status()
	c.Expect(status).To(haveCondition(v1alpha1.ConditionPipelineHealthy, metav1.ConditionTrue, v1alpha1.ReasonLoaded))
	c.Expect(status.Model).To(And(HaveField("Name", "tiny"), HaveField("LoadDuration", HaveValue(Not(BeElementOf(v1alpha1.Duration(""), v1alpha1.Duration("0s")))))))
	c.Expect(status.Device).To(HaveField("Type", v1alpha1.DeviceCPU))

	c.assign(assignment("b", 1, "tiny"))
	second := c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Eventually(func() []string { return c.seen.phases("b") }).Should(ContainElements(warmPhases))
	c.Expect(second.Outputs[0].SHA256).To(Equal(first.Outputs[0].SHA256), "the same seed gives the same bytes")
	c.Expect(c.status().Model).To(Equal(status.Model), "it was not loaded again")

	c.Expect(runtime.destroy("unet")).To(Succeed())
	c.assign(assignment("c", 1, "tiny"))
	third := c.awaitPhase("c", v1alpha1.PhaseSucceeded)
	c.Expect(third.Outputs[0].SHA256).To(Equal(first.Outputs[0].SHA256))
	c.Expect(third.PipelineHealthy).To(And(HaveField("Healthy", true), HaveField("Reason", v1alpha1.ReasonReloaded)))
	c.Eventually(c.seen.all).Should(ContainElement(And(
		haveCondition(v1alpha1.ConditionPipelineHealthy, metav1.ConditionFalse, v1alpha1.ReasonCorrupted),
		HaveField("Assignments", ContainElement(HaveField("PipelineHealthy.Healthy", false))))))
	c.Expect(c.status().Model.LoadTime.Time).To(BeTemporally(">", status.Model.LoadTime.Time))
}

// TestRealPipelineNamesTheFileAtFault gives the pipeline a model with a broken file, and
// then a job with a good one.
func TestRealPipelineNamesTheFileAtFault(t *testing.T) {
	c := newCluster(t)
	c.realModel("tiny", "tiny")
	unet := filepath.Join(c.realModel("tiny", "broken"), "unet", "model.onnx")
	c.Expect(os.WriteFile(unet, []byte("not a graph"), 0o644)).To(Succeed())
	c.runner(assignment("a", 1, "broken"), assignment("b", 1, "tiny"))
	c.start(withPipeline(pipeline.New(ort.New(ort.Options{Device: ort.CPU}))))
	c.Expect(*c.awaitPhase("a", v1alpha1.PhaseFailed)).To(haveError(v1alpha1.ReasonModelInvalid, false, ContainSubstring("unet/model.onnx")))
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Eventually(func() []string { return c.seen.phases("a") }).Should(Equal([]string{"Initializing 1", "ModelLoading 5", "Failed 5"}))
}

// TestRealPipelineBeginsWithAPicture has one job begin with what another drew.
func TestRealPipelineBeginsWithAPicture(t *testing.T) {
	c := newCluster(t)
	c.realModel("tiny", "tiny")
	first := assignment("a", 1, "tiny")
	first.OutputFormat, first.Width = v1alpha1.ImageFormatJPEG, 32
	c.runner(first)
	c.start(withPipeline(pipeline.New(ort.New(ort.Options{Device: ort.CPU}))))
	drawn := c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.Expect(*drawn).To(And(HaveField("Step", BeEquivalentTo(4)), HaveField("Steps", BeEquivalentTo(4))))

	second := assignment("b", 1, "tiny")
	second.Image, second.Strength, second.OutputFormat = &v1alpha1.ImageSource{Path: drawn.Outputs[0].Path}, 0.5, v1alpha1.ImageFormatWebP
	c.assign(second)
	report := c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Expect(report.Outputs[0]).To(And(HaveField("Path", "out/b/0.webp"), HaveField("Width", BeEquivalentTo(32)), HaveField("Height", BeEquivalentTo(16))))
	c.Expect(*report).To(And(HaveField("Step", BeEquivalentTo(2)), HaveField("Steps", BeEquivalentTo(2))), "half of the steps are left out")
	_, err := artifact.Load(c.outputs, report.Outputs[0].Path)
	c.Expect(err).NotTo(HaveOccurred())
}
