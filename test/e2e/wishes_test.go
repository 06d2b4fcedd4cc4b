// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// wish changes a job's spec as kubectl patch does.
func (s *studio) wish(ctx context.Context, name, spec string) {
	GinkgoHelper()
	j := &v1alpha1.GenerationJob{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	Expect(api.Patch(ctx, j, client.RawPatch(types.MergePatchType, []byte(`{"spec":`+spec+`}`)))).To(Succeed())
}

// free is whether the first runner holds nothing.
func (s *studio) free(ctx context.Context) bool {
	r := s.runner(ctx, "default-0")
	return len(r.Spec.Assignments) == 0 && len(r.Status.Assignments) == 0
}

var _ = Describe("A job's user", func() {
	It("suspends it while it draws: its GPU is free, and resumed it draws what it would have drawn", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		s.submit(ctx, job("parked", withSteps(1000)))
		s.generating(ctx, "parked")
		begin := time.Now()
		s.wish(ctx, "parked", `{"suspend":true}`)
		Eventually(func() v1alpha1.Phase { return s.job(ctx, "parked").Status.Phase }).Should(Equal(v1alpha1.PhaseSuspended))
		AddReportEntry("suspended after", time.Since(begin))
		Expect(s.free(ctx)).To(BeTrue())
		Expect(kstatusOf(s.job(ctx, "parked"))).To(Equal(status.CurrentStatus))

		s.submit(ctx, job("undisturbed", withSteps(1000)))
		undisturbed := s.ended(ctx, "undisturbed", v1alpha1.PhaseSucceeded)
		s.wish(ctx, "parked", `{"suspend":null}`)
		resumed := s.ended(ctx, "parked", v1alpha1.PhaseSucceeded)
		Expect(resumed.Status.Outputs[0].SHA256).To(Equal(undisturbed.Status.Outputs[0].SHA256))
		Expect(resumed.Status.Attempt).To(BeEquivalentTo(2))
		Expect(resumed.Status.Failures).To(BeZero())
	}, SpecTimeout(3*time.Minute))

	It("cancels it while it draws: its GPU is free within seconds, and its status is kept", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		s.submit(ctx, job("endless", long))
		s.generating(ctx, "endless")
		s.wish(ctx, "endless", `{"cancel":true}`)
		Eventually(func() v1alpha1.Phase { return s.job(ctx, "endless").Status.Phase }, 5*time.Second).Should(Equal(v1alpha1.PhaseCancelled))
		Expect(s.free(ctx)).To(BeTrue())
		cancelled := s.job(ctx, "endless")
		Expect(cancelled.Status.Progress).To(BeNumerically(">=", v1alpha1.ProgressGenerating))
		Expect(kstatusOf(cancelled)).To(Equal(status.FailedStatus))
	}, SpecTimeout(2*time.Minute))

	It("gives it a deadline: it fails with the stage's name, and is deleted when its time to live is over", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 0)
		second := int64(1)
		s.submit(ctx, job("endless", long, func(spec *v1alpha1.GenerationJobSpec) {
			ttl := int32(2)
			spec.StageDeadlines = &v1alpha1.StageDeadlines{GenerateSeconds: &second}
			spec.TTLSecondsAfterFinished = &ttl
		}))
		failed := s.ended(ctx, "endless", v1alpha1.PhaseFailed)
		Expect(failed.Status.Conditions).To(haveCondition(v1alpha1.ConditionFailed, metav1.ConditionTrue, v1alpha1.ReasonGenerateDeadlineExceeded))
		Expect(s.free(ctx)).To(BeTrue())
		Eventually(func() error {
			return api.Get(ctx, client.ObjectKeyFromObject(failed), &v1alpha1.GenerationJob{})
		}).Should(MatchError(ContainSubstring("not found")))
	}, SpecTimeout(2*time.Minute))

	It("pays twelve writes for it where its model is loaded", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 1)
		s.submit(ctx, job("first"))
		s.ended(ctx, "first", v1alpha1.PhaseSucceeded)
		Eventually(s.free).WithArguments(ctx).Should(BeTrue())

		version := func(o client.Object) string { return o.GetResourceVersion() }
		jobs := watchHistory(ctx, &v1alpha1.GenerationJobList{}, s.namespace, "warm", func(j *v1alpha1.GenerationJob) string { return version(j) })
		runners := watchHistory(ctx, &v1alpha1.RunnerList{}, s.namespace, "default-0", func(r *v1alpha1.Runner) string { return version(r) })
		Eventually(runners.seen).Should(HaveLen(1), "as it is before")
		begin := time.Now()
		s.submit(ctx, job("warm"))
		warm := s.ended(ctx, "warm", v1alpha1.PhaseSucceeded)
		Eventually(jobs.seen).Should(ContainElement(warm.ResourceVersion))
		Eventually(runners.seen).Should(ContainElement(s.runner(ctx, "default-0").ResourceVersion))
		ofJob, ofRunner, took := len(jobs.seen())-1, len(runners.seen())-1, time.Since(begin)
		AddReportEntry("writes", fmt.Sprintf("%d of the job's status and %d of the Runner in %v", ofJob, ofRunner, took))
		for _, stage := range warm.Status.Stages {
			AddReportEntry(string(stage.Phase), stage.EndTime.Sub(stage.StartTime.Time).String())
		}
		// A machine that is busy with something else makes seconds of it, each of which may
		// show in either.
		Expect(ofJob).To(And(BeNumerically(">=", 6), BeNumerically("<=", 6+2*int(took.Seconds()))))
		Expect(ofRunner).To(And(BeNumerically(">=", 6), BeNumerically("<=", 6+2*int(took.Seconds()))))
	}, SpecTimeout(2*time.Minute))
})
