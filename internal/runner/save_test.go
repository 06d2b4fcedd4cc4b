// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/test/s3server"
)

// unavailable is a store that is in trouble.
func unavailable(w http.ResponseWriter, _ *http.Request, _ int64) bool {
	w.WriteHeader(http.StatusServiceUnavailable)
	return true
}

// hurried has two pictures for the server, and time for one try.
func hurried(attempt int32, server *s3server.Server) v1alpha1.Assignment {
	a := toStore("a", server)
	a.Attempt, a.Images, a.SaveSeconds = attempt, 2, 1
	return a
}

// awaitAttempt waits until an attempt at the job "a" has ended in a phase.
func (c *cluster) awaitAttempt(attempt int32, phase v1alpha1.Phase) *v1alpha1.AssignmentReport {
	c.Helper()
	var report *v1alpha1.AssignmentReport
	c.Eventually(func() *v1alpha1.AssignmentReport { report = c.report("a"); return report }).
		Should(HaveValue(And(HaveField("Attempt", attempt), HaveField("Phase", phase))))
	return report
}

// failFirst runs the first attempt at a job against a store that is down.
func failFirst(t *testing.T, c *cluster, server *s3server.Server, fake *fakePipeline) {
	t.Helper()
	server.SetFault(unavailable)
	c.runner(hurried(1, server))
	c.start(withStores(t), withPipeline(fake))
	c.Expect(c.awaitAttempt(1, v1alpha1.PhaseFailed).Error).To(And(HaveField("Reason", v1alpha1.ReasonStoreUnavailable), HaveField("Retryable", true)))
}

// TestPicturesThatWereNotWrittenAreNotDrawnAgain has the store come back between the third
// attempt and the second, which is as the first but that there is nothing to draw.
func TestPicturesThatWereNotWrittenAreNotDrawnAgain(t *testing.T) {
	c := newCluster(t)
	server, fake := s3server.Start(t, "pictures"), &fakePipeline{}
	failFirst(t, c, server, fake)
	c.Expect(c.files()).To(ConsistOf(".unsaved/a/0", ".unsaved/a/1", ".unsaved/a/record.json"))
	c.assign(hurried(2, server))
	c.awaitAttempt(2, v1alpha1.PhaseFailed)
	server.SetFault(nil)
	c.assign(hurried(3, server))
	report := c.awaitAttempt(3, v1alpha1.PhaseSucceeded)
	c.Expect(fake.history()).To(Equal([]string{"load cat", "generate cat"}))
	c.Expect(c.files()).To(BeEmpty(), "what was written is not kept")
	c.Expect(report.Steps).To(BeZero())
	c.Expect(report.ModelLoaded).To(BeTrue())
	c.Expect(report.PipelineHealthy).To(HaveValue(HaveField("Healthy", true)))
	var phases []v1alpha1.Phase
	for _, stage := range report.Stages {
		phases = append(phases, stage.Phase)
	}
	c.Expect(phases).To(Equal([]v1alpha1.Phase{v1alpha1.PhaseInitializing, v1alpha1.PhaseModelLoading, v1alpha1.PhaseGenerating, v1alpha1.PhaseSaving}))

	again := toStore("b", server)
	again.Images = 2
	c.assign(again)
	for i, drawn := range c.awaitPhase("b", v1alpha1.PhaseSucceeded).Outputs {
		kept := report.Outputs[i]
		c.Expect(kept.URL).To(Equal([]string{"s3://pictures/team-a/out/a/0.png", "s3://pictures/team-a/out/a/1.png"}[i]))
		kept.Path, kept.URL = drawn.Path, drawn.URL
		c.Expect(kept).To(Equal(drawn), "the bytes are those of pictures that are drawn anew")
		data, err := server.Object("pictures", "team-a/"+report.Outputs[i].Path)
		c.Expect(err).NotTo(HaveOccurred())
		c.Expect(data).To(HaveLen(int(kept.SizeBytes)))
	}
	c.Expect(fake.history()).To(Equal([]string{"load cat", "generate cat", "generate cat"}))
}

// TestPicturesOutliveTheProcess that waits for the store.
func TestPicturesOutliveTheProcess(t *testing.T) {
	c := newCluster(t)
	server := s3server.Start(t, "pictures")
	server.SetFault(unavailable)
	patient := hurried(1, server)
	patient.SaveSeconds = 600
	c.runner(patient)
	first := c.start(withStores(t))
	c.Eventually(c.files).Should(ContainElement(".unsaved/a/record.json"))
	first.end()
	server.SetFault(nil)
	next := hurried(2, server)
	next.SaveSeconds = 600
	c.assign(next)
	second := c.start(withStores(t))
	c.awaitAttempt(2, v1alpha1.PhaseSucceeded)
	c.Expect(second.pipeline.history()).To(Equal([]string{"load cat"}))
}

// TestPicturesAreDrawnAgain where those that were kept are of no use, or were not kept.
func TestPicturesAreDrawnAgain(t *testing.T) {
	for name, change := range map[string]func(c *cluster, next *v1alpha1.Assignment) error{
		"of another request": func(_ *cluster, next *v1alpha1.Assignment) error { next.Steps++; return nil },
		"by another model":   func(_ *cluster, next *v1alpha1.Assignment) error { next.Model.Generation++; return nil },
		"damaged": func(c *cluster, _ *v1alpha1.Assignment) error {
			return os.Truncate(filepath.Join(c.outputs, ".unsaved/a/1"), 9)
		},
		"on another runner": func(c *cluster, _ *v1alpha1.Assignment) error {
			return os.RemoveAll(filepath.Join(c.outputs, ".unsaved"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			server, fake := s3server.Start(t, "pictures"), &fakePipeline{}
			failFirst(t, c, server, fake)
			server.SetFault(nil)
			next := hurried(2, server)
			c.Expect(change(c, &next)).To(Succeed())
			c.assign(next)
			c.awaitAttempt(2, v1alpha1.PhaseSucceeded)
			c.Expect(strings.Count(strings.Join(fake.history(), " "), "generate")).To(Equal(2))
			c.Expect(c.files()).To(BeEmpty())
		})
	}
}

// TestAVolumeThatTakesNothing costs only the drawing.
func TestAVolumeThatTakesNothing(t *testing.T) {
	c := newCluster(t)
	c.Expect(os.WriteFile(filepath.Join(c.outputs, ".unsaved"), nil, 0o600)).To(Succeed())
	server, fake := s3server.Start(t, "pictures"), &fakePipeline{}
	failFirst(t, c, server, fake)
	server.SetFault(nil)
	c.assign(hurried(2, server))
	c.awaitAttempt(2, v1alpha1.PhaseSucceeded)
	c.Expect(fake.history()).To(Equal([]string{"load cat", "generate cat", "generate cat"}))
}

// TestAProcessBeginsWithoutOldPictures of jobs that nobody will give it any more.
func TestAProcessBeginsWithoutOldPictures(t *testing.T) {
	c := newCluster(t)
	kept := spool(c.outputs)
	for _, job := range []types.UID{"old", "new"} {
		c.Expect(kept.keep(job, "key", twoPictures())).To(Succeed())
	}
	old := time.Now().Add(-spoolAge - time.Hour)
	c.Expect(os.Chtimes(filepath.Join(c.outputs, ".unsaved", "old"), old, old)).To(Succeed())
	c.start()
	c.Eventually(c.files).Should(ConsistOf(".unsaved/new/0", ".unsaved/new/1", ".unsaved/new/record.json"))
}
