// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/test/s3server"
)

// storesManifest is a pool with a store that works, by default, and one whose bucket is not
// there.
const storesManifest = `
apiVersion: v1
kind: Secret
metadata: {name: pictures}
stringData: {AWS_ACCESS_KEY_ID: ` + s3server.AccessKeyID + `, AWS_SECRET_ACCESS_KEY: ` + s3server.SecretAccessKey + `}
---
apiVersion: generation.atelier.dev/v1alpha1
kind: RunnerPool
metadata: {name: default}
spec:
  maxRunners: 1
  defaultStore: pictures
  stores:
  - {name: pictures, url: "s3://pictures/atelier", endpoint: %[1]q, region: us-east-1, pathStyle: true, secretRef: {name: pictures}}
  - {name: nowhere, url: "s3://nowhere", endpoint: %[1]q, region: us-east-1, pathStyle: true, secretRef: {name: pictures}}
  template:
    spec:
      containers:
      - name: runner
        resources: {limits: {nvidia.com/gpu: 1}}
      volumes:
      - {name: models, persistentVolumeClaim: {claimName: models, readOnly: true}}
`

// openStores makes the pool, whose store is a real S3 server.
func (s *studio) openStores(ctx context.Context) *s3server.Server {
	GinkgoHelper()
	server := s3server.Start(GinkgoTB(), "pictures")
	s.mustApply(ctx, fmt.Sprintf(storesManifest, server.URL))
	return server
}

func withStore(name string) func(*v1alpha1.GenerationJobSpec) {
	return func(spec *v1alpha1.GenerationJobSpec) {
		spec.Output = &v1alpha1.OutputSpec{Store: &name}
		spec.BackoffLimit = new(int32(0))
	}
}

var _ = Describe("A pool's stores", func() {
	It("take the pictures of jobs that name none, and the status says where they are", func(ctx SpecContext) {
		s := newStudio(ctx)
		server := s.openStores(ctx)
		s.submit(ctx, job("apple"))
		done := s.ended(ctx, "apple", v1alpha1.PhaseSucceeded)
		Expect(done.Status.Outputs).To(HaveLen(1))
		output := done.Status.Outputs[0]
		key := "atelier/" + output.Path
		Expect(output.URL).To(Equal("s3://pictures/" + key))
		Expect(output.Path).To(HavePrefix(s.namespace + "/apple-"))
		object, err := server.Object("pictures", key)
		Expect(err).NotTo(HaveOccurred())
		sum := sha256.Sum256(object)
		Expect(output.SHA256).To(Equal(hex.EncodeToString(sum[:])))
		Expect(output.SizeBytes).To(BeEquivalentTo(len(object)))
	}, SpecTimeout(2*time.Minute))

	It("have each picture under the key that its job asks for", func(ctx SpecContext) {
		s := newStudio(ctx)
		server := s.openStores(ctx)
		submitted := s.submit(ctx, job("apple", withSeed(7), func(spec *v1alpha1.GenerationJobSpec) {
			spec.Images = new(int32(2))
			spec.Output = &v1alpha1.OutputSpec{Path: new("{name}/{uid}/{namespace}-{index}_{seed}")}
		}))
		s.ended(ctx, "apple", v1alpha1.PhaseSucceeded)
		folder := fmt.Sprintf("atelier/%[1]s/apple/%[2]s/%[1]s-", s.namespace, submitted.UID)
		Expect(server.Keys("pictures")).To(ConsistOf(folder+"0_7.png", folder+"1_8.png"))
	}, SpecTimeout(2*time.Minute))

	It("fail a job whose bucket is not there with its name, and take the next", func(ctx SpecContext) {
		s := newStudio(ctx)
		server := s.openStores(ctx)
		s.submit(ctx, job("lost", withStore("nowhere")))
		failed := s.ended(ctx, "lost", v1alpha1.PhaseFailed)
		Expect(messageOf(failed.Status.Conditions, v1alpha1.ConditionFailed)).To(And(
			ContainSubstring(v1alpha1.ReasonSaveFailed), ContainSubstring("s3://nowhere/"), ContainSubstring("NoSuchBucket")))
		s.submit(ctx, job("kept"))
		s.ended(ctx, "kept", v1alpha1.PhaseSucceeded)
		Expect(server.Keys("pictures")).To(HaveLen(1))
	}, SpecTimeout(2*time.Minute))

	It("cost a job no second drawing and no failure when they are down, but time", func(ctx SpecContext) {
		s := newStudio(ctx)
		server := s.openStores(ctx)
		server.Stop()
		s.submit(ctx, job("patient", withSeed(7), func(spec *v1alpha1.GenerationJobSpec) {
			spec.BackoffLimit = new(int32(0))
			spec.StageDeadlines = &v1alpha1.StageDeadlines{SaveSeconds: new(int64(8))}
		}))
		Eventually(func(g Gomega) {
			status := s.job(ctx, "patient").Status
			g.Expect(status.Attempt).To(BeNumerically(">=", 2))
			g.Expect(status.Conditions).To(haveCondition(v1alpha1.ConditionScheduled, metav1.ConditionFalse, v1alpha1.ReasonBackoff))
			g.Expect(messageOf(status.Conditions, v1alpha1.ConditionReady)).To(And(
				ContainSubstring(v1alpha1.ReasonStoreUnavailable), ContainSubstring(server.URL)))
		}).WithTimeout(time.Minute).Should(Succeed())
		server.Restart(GinkgoTB())
		done := s.ended(ctx, "patient", v1alpha1.PhaseSucceeded)
		Expect(done.Status.Failures).To(BeZero())
		Expect(done.Status.Steps).To(BeZero(), "the last attempt called the network")
		metrics := ask(ctx, "http", s.firstPod(ctx), runnerPort, "", http.MethodGet, "/metrics").text
		Expect(metrics).To(And(ContainSubstring(`atelier_runner_stage_duration_seconds_count{stage="Generating"} 1`),
			ContainSubstring(`atelier_runner_assignments_total{outcome="StoreUnavailable"}`)))

		s.submit(ctx, job("anew", withSeed(7)))
		anew := s.ended(ctx, "anew", v1alpha1.PhaseSucceeded)
		Expect(anew.Status.Steps).NotTo(BeZero())
		Expect(done.Status.Outputs[0].SHA256).To(Equal(anew.Status.Outputs[0].SHA256))
	}, SpecTimeout(3*time.Minute))

	It("keep a job waiting that names one which the pool does not have", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openStores(ctx)
		s.submit(ctx, job("early", withStore("later")))
		Eventually(func() []metav1.Condition { return s.job(ctx, "early").Status.Conditions }).
			Should(haveCondition(v1alpha1.ConditionScheduled, metav1.ConditionFalse, v1alpha1.ReasonStoreNotFound))
		Expect(messageOf(s.job(ctx, "early").Status.Conditions, v1alpha1.ConditionScheduled)).To(ContainSubstring("later"))
	}, SpecTimeout(time.Minute))
})
