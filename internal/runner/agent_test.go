// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// haveCondition matches a status by status and reason of one of its conditions.
func haveCondition(kind string, status metav1.ConditionStatus, reason string) OmegaMatcher {
	return WithTransform(func(s v1alpha1.RunnerStatus) string {
		c := meta.FindStatusCondition(s.Conditions, kind)
		if c == nil {
			return "none"
		}
		return string(c.Status) + "/" + c.Reason
	}, Equal(string(status)+"/"+reason))
}

// haveError matches a report by its error.
func haveError(reason string, retryable bool, message OmegaMatcher) OmegaMatcher {
	return HaveField("Error", And(HaveField("Reason", reason), HaveField("Retryable", retryable), HaveField("Message", message)))
}

func (c *cluster) status() v1alpha1.RunnerStatus {
	c.Helper()
	return c.get().Status
}

func TestFreshProcessIsReadyIdleAndHasLoadedNothing(t *testing.T) {
	c := newCluster(t)
	start := time.Now().Add(-time.Second)
	p := c.start(withStartTime(start))
	p.Eventually(p.log.String).Should(ContainSubstring("there is no Runner of this name"))
	runner := c.runner()
	c.Eventually(c.status).Should(haveCondition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonStarted))

	status := c.status()
	c.Expect(status).To(haveCondition(v1alpha1.ConditionPipelineHealthy, metav1.ConditionTrue, v1alpha1.ReasonIdle))
	c.Expect(status.BootID).NotTo(BeEmpty())
	c.Expect(status.Version).To(Equal("v0"))
	c.Expect(status.ObservedGeneration).To(Equal(runner.Generation))
	c.Expect(status.StartTime.Time).To(BeTemporally("~", start, time.Microsecond))
	c.Expect(status.ReadyTime.Sub(status.StartTime.Time)).To(And(BeNumerically(">", time.Second), BeNumerically("<", 3*time.Second)))
	c.Expect(status.Model).To(BeNil())
	c.Expect(status.Device).To(BeNil())
	c.Expect(p.pipeline.history()).To(BeEmpty())
	c.Expect(p.line.count()).To(Equal(1), "all of it is one write")
	c.Eventually(p.agent.Ready).Should(Succeed())
}

func TestPhasesAreSeenInOrderAlsoWhenTheModelIsLoaded(t *testing.T) {
	c := newCluster(t)
	c.runner(assignment("a", 1, "cat"))
	p := c.start()
	report := c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.Eventually(func() []string { return c.seen.phases("a") }).Should(Equal(jobPhases))
	c.Expect(report.Step).To(BeEquivalentTo(4))
	c.Expect(report.Steps).To(BeEquivalentTo(4))
	c.Expect(report.ModelLoaded).To(BeTrue())
	c.Expect(report.PipelineHealthy).To(Equal(&v1alpha1.PipelineHealth{Healthy: true, Reason: v1alpha1.ReasonLoaded, Message: "everything is loaded"}))

	first := c.status()
	c.Expect(first).To(haveCondition(v1alpha1.ConditionPipelineHealthy, metav1.ConditionTrue, v1alpha1.ReasonLoaded))
	c.Expect(first.Model).To(And(HaveField("Name", "cat"), HaveField("LoadTime", Not(BeNil())), HaveField("LoadDuration", Not(BeNil()))))
	c.Expect(first.Device).To(Equal(&v1alpha1.RunnerDevice{Type: v1alpha1.DeviceCPU, Message: "a fake"}))

	before := p.line.count()
	c.assign(assignment("b", 1, "cat"))
	warm := c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Eventually(func() []string { return c.seen.phases("b") }).Should(Equal(warmPhases))
	c.Expect(stages(warm)).To(Equal([]v1alpha1.Phase{v1alpha1.PhaseInitializing, v1alpha1.PhaseModelLoading, v1alpha1.PhaseGenerating, v1alpha1.PhaseSaving}),
		"every phase is reported, also those that took no time")
	c.Expect(c.report("a")).To(BeNil(), "a removed assignment is acknowledged")
	c.Expect(c.status().Model).To(Equal(first.Model), "nothing was loaded")
	c.Expect(p.pipeline.history()).To(Equal([]string{"load cat", "generate cat", "generate cat"}))
	c.Expect(p.line.count()-before).To(Equal(3), "a warm job of less than a second is three writes, the acknowledgement of the last job included")
	c.assign()
	c.awaitGone("b")
	c.Expect(p.line.count()-before).To(Equal(4), "and one more where no job follows")
}

// stages gives the phases that a report has the times of.
func stages(report *v1alpha1.AssignmentReport) []v1alpha1.Phase {
	var phases []v1alpha1.Phase
	for _, stage := range report.Stages {
		if stage.EndTime != nil {
			phases = append(phases, stage.Phase)
		}
	}
	return phases
}

func TestOutputsAreFilesWithTheirHash(t *testing.T) {
	c := newCluster(t)
	a := assignment("a", 1, "cat")
	a.Images = 2
	c.runner(a)
	c.start()
	report := c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.Expect(report.Outputs).To(HaveLen(2))
	for i, output := range report.Outputs {
		data, err := os.ReadFile(filepath.Join(c.outputs, output.Path))
		c.Expect(err).NotTo(HaveOccurred())
		sum := sha256.Sum256(data)
		c.Expect(output).To(Equal(v1alpha1.Output{
			Index: int32(i), Seed: 7 + int64(i), Path: []string{"out/a/0.png", "out/a/1.png"}[i],
			SHA256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(data)), Width: 8, Height: 4,
		}))
	}
}

func TestAnotherModelSwapsAndTheStatusSaysSoBeforehand(t *testing.T) {
	c := newCluster(t)
	var atLoad []*v1alpha1.LoadedModel
	fake := &fakePipeline{onLoad: func(context.Context, pipeline.Model) error {
		atLoad = append(atLoad, c.status().Model)
		return nil
	}}
	c.runner(assignment("a", 1, "cat"), assignment("b", 1, "dog"))
	c.start(withPipeline(fake))
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Expect(c.status().Model).To(HaveField("Name", "dog"))
	c.Expect(atLoad).To(Equal([]*v1alpha1.LoadedModel{nil, nil}), "no model is shown while one is being loaded")
	c.Expect(fake.history()).To(Equal([]string{"load cat", "generate cat", "load dog", "generate dog"}))
}

func TestAnotherGenerationOfAModelIsAnotherModel(t *testing.T) {
	c := newCluster(t)
	second := assignment("b", 1, "cat")
	second.Model.Generation = 2
	c.runner(assignment("a", 1, "cat"), second)
	p := c.start()
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Expect(p.pipeline.history()).To(Equal([]string{"load cat", "generate cat", "load cat", "generate cat"}))
	c.Expect(c.status().Model.Generation).To(BeEquivalentTo(2))
}

func TestProgressIsWrittenOnceASecondAndNeverWaitedFor(t *testing.T) {
	c := newCluster(t)
	clock := clocktesting.NewFakeClock(time.Now())
	steps := make(gate)
	a := assignment("a", 1, "cat")
	a.Steps = 8
	c.runner(a)
	p := c.start(withClock(clock), withPipeline(&fakePipeline{onStep: steps.wait}))
	c.awaitPhase("a", v1alpha1.PhaseGenerating)
	before := p.line.count()
	for range 3 {
		steps <- struct{}{}
	}
	c.Consistently(p.line.count, "100ms").Should(Equal(before), "progress was written within a second")
	clock.Step(progressInterval)
	c.Eventually(func() int32 { return c.report("a").Step }).Should(BeEquivalentTo(3))
	c.Expect(p.line.count()).To(Equal(before + 1))

	// From here on the API server does not answer. Denoising goes on all the same.
	hang := make(chan struct{})
	p.line.set(all(func(request *http.Request, next http.RoundTripper) (*http.Response, error) {
		<-hang
		return next.RoundTrip(request)
	}))
	for range 4 {
		steps <- struct{}{}
		clock.Step(progressInterval)
	}
	steps <- struct{}{}
	c.Eventually(p.pipeline.done).Should(BeTrue())
	c.Consistently(func() error {
		_, err := os.Stat(filepath.Join(c.outputs, "out/a/0.png"))
		return err
	}, "100ms").Should(MatchError(os.ErrNotExist), "saving began before Saving was written")
	p.line.set(nil)
	close(hang)
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.Eventually(func() []string { return c.seen.phases("a") }).Should(ContainElements("Generating 40", "Saving 95"))
}

func TestAssignmentTakenAwayIsCancelledWithinAStep(t *testing.T) {
	c := newCluster(t)
	steps := make(gate)
	c.runner(assignment("a", 1, "cat"))
	p := c.start(withPipeline(&fakePipeline{onStep: steps.wait}))
	c.awaitPhase("a", v1alpha1.PhaseGenerating)
	steps <- struct{}{}

	c.assign(assignment("b", 1, "cat"))
	c.awaitGone("a")
	c.awaitPhase("b", v1alpha1.PhaseGenerating)
	close(steps)
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Expect(c.seen.phases("a")).NotTo(ContainElement(HavePrefix("Failed")), "a cancelled job is not a failed one")
	c.Expect(p.metric("atelier_runner_assignments_total")).To(ContainSubstring(outcomeCancelled))
	c.Expect(c.status().Model).To(HaveField("Name", "cat"))
}

func TestReportOfCancelledWorkStaysUntilTheWorkIsOver(t *testing.T) {
	c := newCluster(t)
	stubborn := make(chan struct{})
	c.runner(assignment("a", 1, "cat"))
	p := c.start(withPipeline(&fakePipeline{onStep: func(context.Context, int) error { <-stubborn; return nil }}))
	p.awaitDrawing()
	c.assign(assignment("a", 2, "cat"))
	c.Eventually(p.log.String).Should(ContainSubstring("Work is being stopped"))
	c.Consistently(func() int32 { return c.report("a").Attempt }, "100ms").Should(BeEquivalentTo(1))
	close(stubborn)
	c.Eventually(func() bool { r := c.report("a"); return r.Attempt == 2 && r.Phase == v1alpha1.PhaseSucceeded }).Should(BeTrue())
	c.Expect(p.pipeline.history()).To(Equal([]string{"load cat", "generate cat", "generate cat"}))
}

func TestAssignmentTakenAwayBeforeItsReportIsWrittenIsNeverBegun(t *testing.T) {
	c := newCluster(t)
	c.runner()
	p := c.start()
	c.Eventually(p.agent.Ready).Should(Succeed())
	p.line.set(all(refused))
	c.assign(assignment("a", 1, "cat"))
	c.Eventually(p.log.String).Should(ContainSubstring("Assignment taken"))
	c.assign()
	c.Eventually(p.log.String).Should(ContainSubstring("Assignment dropped"))
	p.line.set(nil)
	c.assign(assignment("b", 1, "cat"))
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Expect(c.seen.phases("a")).To(BeEmpty(), "a report appeared on an assignment that was gone")
	c.Expect(p.pipeline.history()).To(Equal([]string{"load cat", "generate cat"}))
}

func TestDeletedRunnerStopsEverythingAndItsSuccessorStartsAfresh(t *testing.T) {
	c := newCluster(t)
	steps := make(gate)
	runner := c.runner(assignment("a", 1, "cat"))
	p := c.start(withPipeline(&fakePipeline{onStep: steps.wait}))
	c.awaitPhase("a", v1alpha1.PhaseGenerating)
	c.Expect(c.api.Delete(t.Context(), runner)).To(Succeed())
	c.Eventually(p.log.String).Should(ContainSubstring("Assignment dropped"))
	c.Expect(p.agent.Ready()).NotTo(Succeed())

	close(steps)
	c.runner(assignment("b", 1, "cat"))
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Expect(c.status()).To(haveCondition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonStarted))
	c.Expect(c.status().Assignments).To(HaveLen(1))
}

func TestAnotherPodsRunnerIsNeverWritten(t *testing.T) {
	c := newCluster(t)
	runner := c.runner(assignment("a", 1, "cat"))
	runner.Spec.PodUID = "another"
	c.Expect(c.api.Update(t.Context(), runner)).To(Succeed())
	p := c.start()
	c.Eventually(p.log.String).Should(ContainSubstring("the Runner of this name is another pod's"))
	c.Consistently(p.line.count, "200ms").Should(BeZero())
	c.Expect(p.agent.Ready()).NotTo(Succeed())
	c.Expect(p.pipeline.history()).To(BeEmpty())

	runner.Spec.PodUID = podUID
	c.Expect(c.api.Update(t.Context(), runner)).To(Succeed())
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
}

func TestRestartReportsUnfinishedWorkAsCrashedAndKeepsTheRest(t *testing.T) {
	c := newCluster(t)
	c.runner(assignment("unfinished", 3, "cat"), assignment("ended", 1, "cat"), assignment("new", 1, "cat"))
	ended := reports(v1alpha1.PhaseFailed, key{"ended", 1})[0]
	ended.Error = &v1alpha1.AssignmentError{Reason: v1alpha1.ReasonSaveFailed, Message: "disk full", Retryable: true}
	c.setStatus(v1alpha1.RunnerStatus{
		BootID: "earlier",
		Model:  &v1alpha1.LoadedModel{Name: "dog", UID: "x", Generation: 1},
		Device: &v1alpha1.RunnerDevice{Type: v1alpha1.DeviceCUDA},
		Assignments: append(reports(v1alpha1.PhaseGenerating, key{"unfinished", 3}, key{"unwanted", 1}),
			ended),
	})
	p := c.start()
	c.Expect(*c.awaitPhase("unfinished", v1alpha1.PhaseFailed)).To(haveError(v1alpha1.ReasonRunnerCrashed, true, Not(BeEmpty())))
	c.awaitPhase("new", v1alpha1.PhaseSucceeded)
	c.Expect(*c.report("ended")).To(Equal(ended))
	c.Expect(c.report("unwanted")).To(BeNil())
	c.Expect(p.pipeline.history()).To(Equal([]string{"load cat", "generate cat"}), "only the new one ran")
	c.Expect(c.status().BootID).NotTo(Equal("earlier"))
	c.Eventually(c.seen.all).Should(ContainElement(And(
		HaveField("BootID", Not(BeElementOf("earlier", ""))),
		HaveField("Model", BeNil()), HaveField("Device", BeNil()))), "a new process has nothing loaded")

	c.assign(assignment("unfinished", 4, "cat"))
	c.awaitPhase("unfinished", v1alpha1.PhaseSucceeded)
	c.awaitGone("ended")
}

func TestProcessThatIsSupplantedEndsWithoutAnotherWrite(t *testing.T) {
	c := newCluster(t)
	steps := make(gate)
	c.runner(assignment("a", 1, "cat"))
	old := c.start(withPipeline(&fakePipeline{onStep: steps.wait}))
	old.awaitDrawing()
	c.awaitPhase("a", v1alpha1.PhaseGenerating)
	young := c.start()
	c.Expect(old.awaitExit()).To(MatchError(ErrSupplanted))
	c.Expect(*c.awaitPhase("a", v1alpha1.PhaseFailed)).To(haveError(v1alpha1.ReasonRunnerCrashed, true, Not(BeEmpty())))
	c.Expect(c.status().BootID).To(Equal(young.agent.bootID))
	c.Expect(c.status()).To(haveCondition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonStarted))
	c.assign(assignment("a", 2, "cat"))
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
}

func TestTerminationIsBoundedAlsoWithoutTheAPIServer(t *testing.T) {
	c := newCluster(t)
	c.runner()
	p := c.start(withShutdown(50 * time.Millisecond))
	c.Eventually(p.agent.Ready).Should(Succeed())
	p.line.setDown(true)
	p.sigterm()
	c.Expect(p.awaitExit()).To(MatchError(ContainSubstring("shutdown timeout")))
}

func TestTerminationStopsWorkAndReportsItLost(t *testing.T) {
	c := newCluster(t)
	steps := make(gate)
	c.runner(assignment("a", 1, "cat"), assignment("b", 1, "cat"))
	p := c.start(withPipeline(&fakePipeline{onStep: steps.wait}))
	c.awaitPhase("a", v1alpha1.PhaseGenerating)
	p.sigterm()
	c.Expect(p.awaitExit()).To(Succeed())
	c.Expect(c.status()).To(haveCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTerminating))
	c.Expect(*c.report("a")).To(haveError(v1alpha1.ReasonRunnerLost, true, Not(BeEmpty())))
	c.Expect(c.report("b")).To(BeNil(), "nothing is begun while terminating")
	c.Expect(p.agent.Ready()).NotTo(Succeed())
}

func TestTerminationIsBounded(t *testing.T) {
	c := newCluster(t)
	stubborn := make(chan struct{})
	t.Cleanup(func() { close(stubborn) })
	c.runner(assignment("a", 1, "cat"))
	p := c.start(withShutdown(50*time.Millisecond),
		withPipeline(&fakePipeline{onStep: func(context.Context, int) error { <-stubborn; return nil }}))
	p.awaitDrawing()
	p.sigterm()
	p.Expect(p.awaitExit()).To(MatchError(ContainSubstring("shutdown timeout")))
	c.Expect(c.report("a").Phase).To(Equal(v1alpha1.PhaseGenerating), "the next process reports it as crashed")
}

func TestUnhealthyPipelineIsReloadedAndTheJobSucceeds(t *testing.T) {
	c := newCluster(t)
	c.runner(assignment("a", 1, "cat"))
	p := c.start()
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	p.pipeline.corrupt(pipeline.Health{Reason: v1alpha1.ReasonPartiallyLoaded, Message: "no tokenizer"})
	c.assign(assignment("b", 1, "cat"))
	report := c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	c.Expect(report.PipelineHealthy).To(And(HaveField("Healthy", true), HaveField("Reason", v1alpha1.ReasonReloaded)))
	c.Expect(p.pipeline.history()).To(Equal([]string{"load cat", "generate cat", "unload", "load cat", "generate cat"}))
	c.Expect(c.status()).To(haveCondition(v1alpha1.ConditionPipelineHealthy, metav1.ConditionTrue, v1alpha1.ReasonReloaded))
	c.Eventually(c.seen.all).Should(ContainElement(And(
		haveCondition(v1alpha1.ConditionPipelineHealthy, metav1.ConditionFalse, v1alpha1.ReasonPartiallyLoaded),
		HaveField("Assignments", ContainElement(HaveField("PipelineHealthy", And(
			HaveField("Healthy", false), HaveField("Message", "no tokenizer"))))))))
}

func TestPipelineThatIsUnhealthyAfterALoadIsReloaded(t *testing.T) {
	c := newCluster(t)
	fake := &fakePipeline{}
	fake.onLoad = func(context.Context, pipeline.Model) error {
		if len(fake.history()) == 1 {
			fake.corrupt(pipeline.Health{Reason: v1alpha1.ReasonCorrupted, Message: "two models"})
		}
		return nil
	}
	c.runner(assignment("a", 1, "cat"))
	c.start(withPipeline(fake))
	report := c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.Expect(report.PipelineHealthy).To(HaveField("Reason", v1alpha1.ReasonReloaded))
	c.Expect(fake.history()).To(Equal([]string{"load cat", "unload", "load cat", "generate cat"}))
}

func TestPipelineThatStaysUnhealthyEndsTheProcess(t *testing.T) {
	c := newCluster(t)
	c.runner(assignment("a", 1, "cat"), assignment("b", 1, "cat"))
	p := c.start()
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
	sick := pipeline.Health{Reason: v1alpha1.ReasonCorrupted, Message: "two models"}
	p.pipeline.corrupt(sick, sick, sick)
	c.assign(assignment("c", 1, "cat"), assignment("d", 1, "cat"))
	c.Expect(p.awaitExit()).To(MatchError(ErrPipelineUnhealthy))
	c.Expect(*c.report("c")).To(haveError(v1alpha1.ReasonPipelineUnhealthy, true, ContainSubstring("two models")))
	c.Expect(c.status()).To(haveCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTerminating))
	c.Expect(c.status()).To(haveCondition(v1alpha1.ConditionPipelineHealthy, metav1.ConditionFalse, v1alpha1.ReasonCorrupted))
	c.Expect(c.report("d")).To(BeNil())

	c.start()
	c.awaitPhase("d", v1alpha1.PhaseSucceeded)
	c.Expect(*c.report("c")).To(haveError(v1alpha1.ReasonPipelineUnhealthy, true, Not(BeEmpty())), "kept until it is taken away")
}

func TestPipelineThatCannotBeReloadedEndsTheProcess(t *testing.T) {
	c := newCluster(t)
	sick := pipeline.Health{Reason: v1alpha1.ReasonPartiallyLoaded, Message: "a session can't be closed"}
	fake := &fakePipeline{}
	fake.onLoad = func(context.Context, pipeline.Model) error {
		fake.corrupt(sick)
		return errors.New("a session can't be closed")
	}
	c.runner(assignment("a", 1, "cat"))
	p := c.start(withPipeline(fake))
	c.Expect(p.awaitExit()).To(MatchError(ErrPipelineUnhealthy))
	c.Expect(*c.report("a")).To(haveError(v1alpha1.ReasonPipelineUnhealthy, true, ContainSubstring(sick.Message)))
}

func TestReloadThatFailsIsWhatTheHealthCheckFound(t *testing.T) {
	c := newCluster(t)
	c.runner(assignment("a", 1, "cat"))
	p := c.start()
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	p.pipeline.corrupt(pipeline.Health{Reason: v1alpha1.ReasonCorrupted, Message: "two models"})
	p.pipeline.onLoad = failLoad(errors.New("out of memory"))
	c.assign(assignment("b", 1, "cat"))
	report := c.awaitPhase("b", v1alpha1.PhaseFailed)
	c.Expect(*report).To(haveError(v1alpha1.ReasonModelLoadFailed, true, Equal("out of memory")))
	c.Expect(report.PipelineHealthy).To(And(HaveField("Healthy", false), HaveField("Reason", v1alpha1.ReasonModelLoadFailed)))
	c.Expect(c.status()).To(haveCondition(v1alpha1.ConditionPipelineHealthy, metav1.ConditionTrue, v1alpha1.ReasonIdle), "the runner itself is idle again")
}

func TestPanicIsReportedAndUnloads(t *testing.T) {
	c := newCluster(t)
	fake := &fakePipeline{onGenerate: func(context.Context, pipeline.Request) error { panic("index out of range") }}
	c.runner(assignment("a", 1, "cat"))
	p := c.start(withPipeline(fake))
	c.Expect(*c.awaitPhase("a", v1alpha1.PhaseFailed)).To(haveError(v1alpha1.ReasonGenerationFailed, true, Equal("panic: index out of range")))
	c.Expect(fake.history()).To(Equal([]string{"load cat", "generate cat", "unload"}))
	c.Expect(c.status().Model).To(BeNil())
	c.Expect(c.status()).To(haveCondition(v1alpha1.ConditionPipelineHealthy, metav1.ConditionTrue, v1alpha1.ReasonIdle))
	c.Expect(p.log.String()).To(ContainSubstring("fake_test.go"), "the stack is in the log")
}

func TestFailuresAreReportedWithTheirReason(t *testing.T) {
	tests := map[string]struct {
		fake   *fakePipeline
		change func(*v1alpha1.Assignment)
		expect OmegaMatcher
		loaded bool
	}{
		"a broken file": {
			fake:   &fakePipeline{onLoad: failLoad(&pipeline.ModelError{File: "unet/model.onnx", Message: "is not an ONNX graph"})},
			expect: haveError(v1alpha1.ReasonModelInvalid, false, ContainSubstring("unet/model.onnx")),
		},
		"no memory": {
			fake:   &fakePipeline{onLoad: failLoad(errors.New("out of memory"))},
			expect: haveError(v1alpha1.ReasonModelLoadFailed, true, Equal("out of memory")),
		},
		"no such directory": {
			change: func(a *v1alpha1.Assignment) { a.Model.Source.Path = "bird" },
			expect: haveError(v1alpha1.ReasonModelInvalid, false, ContainSubstring("bird")),
		},
		"a field the model can't do": {
			fake:   &fakePipeline{onGenerate: failGenerate(&pipeline.RequestError{Field: "prompt", Value: secretPrompt, Message: "too long"})},
			expect: haveError(v1alpha1.ReasonInvalidRequest, false, HavePrefix("prompt: ")),
			loaded: true,
		},
		"a failing step": {
			fake:   &fakePipeline{onGenerate: failGenerate(errors.New("CUDA error 700"))},
			expect: haveError(v1alpha1.ReasonGenerationFailed, true, Equal("CUDA error 700")),
			loaded: true,
		},
		"a path out of the volume": {
			change: func(a *v1alpha1.Assignment) { a.OutputDirectory = "../elsewhere" },
			expect: haveError(v1alpha1.ReasonSaveFailed, true, ContainSubstring("../elsewhere")),
			loaded: true,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			a := assignment("a", 1, "cat")
			if test.change != nil {
				test.change(&a)
			}
			c.runner(a)
			if test.fake == nil {
				test.fake = &fakePipeline{}
			}
			c.start(withPipeline(test.fake))
			c.Expect(*c.awaitPhase("a", v1alpha1.PhaseFailed)).To(test.expect)
			c.Eventually(func() []string { return c.seen.phases("a") }).Should(ContainElement("ModelLoading 5"))
			c.Expect(c.status().Model != nil).To(Equal(test.loaded))
			c.assign()
			c.awaitGone("a")
		})
	}
}

func failLoad(err error) func(context.Context, pipeline.Model) error {
	return func(context.Context, pipeline.Model) error { return err }
}

func failGenerate(err error) func(context.Context, pipeline.Request) error {
	return func(context.Context, pipeline.Request) error { return err }
}

func TestCancelledLoadLeavesARunnerThatWorks(t *testing.T) {
	c := newCluster(t)
	var blocked bool
	fake := &fakePipeline{onLoad: func(ctx context.Context, _ pipeline.Model) error {
		if blocked {
			return nil
		}
		blocked = true
		<-ctx.Done()
		return ctx.Err()
	}}
	c.runner(assignment("a", 1, "cat"))
	c.start(withPipeline(fake))
	c.awaitPhase("a", v1alpha1.PhaseModelLoading)
	c.assign(assignment("b", 1, "cat"))
	c.awaitGone("a")
	c.awaitPhase("b", v1alpha1.PhaseSucceeded)
}

func TestPlaceholderEmbeddingWarnsAndGoesOn(t *testing.T) {
	c := newCluster(t)
	a := assignment("a", 1, "cat")
	a.PrecomputeEmbedding = true
	c.runner(a)
	c.start()
	report := c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.Expect(report.Warnings).To(Equal([]string{v1alpha1.PlaceholderEmbeddingWarning}))
}

func TestWarningsOfThePipelineAreReported(t *testing.T) {
	c := newCluster(t)
	c.runner(assignment("a", 1, "cat"))
	c.start(withPipeline(&fakePipeline{warnings: []string{"this has no effect"}}))
	report := c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.Expect(report.Warnings).To(Equal([]string{"this has no effect"}))
}
