// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/bucket"
	"github.com/atelier-dev/atelier/test/internal/pool"
	"github.com/atelier-dev/atelier/test/s3server"
)

// bucketModelManifest is a model in the store for models.
const bucketModelManifest = `
apiVersion: generation.atelier.dev/v1alpha1
kind: Model
metadata: {name: bucketed}
spec:
  source:
    bucket: {url: "s3://models/tiny", endpoint: %q}
`

// openStores makes the pool, whose stores are a real S3 server: one that works, by default, one
// whose bucket is not there, one for models and one that is the outputs volume.
func (s *studio) openStores(ctx context.Context) *s3server.Server {
	GinkgoHelper()
	server := s3server.Start(GinkgoTB(), "pictures", "models")
	Expect(api.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "pictures"},
		StringData: map[string]string{bucket.KeyAccessKeyID: s3server.AccessKeyID, bucket.KeySecretAccessKey: s3server.SecretAccessKey},
	})).To(Succeed())
	store := func(name, url string) v1alpha1.OutputStore {
		return v1alpha1.OutputStore{Name: name, URL: url, Endpoint: server.URL, Region: "us-east-1", PathStyle: true,
			SecretRef: &v1alpha1.ObjectReference{Name: "pictures"}}
	}
	models := store("models", "s3://models")
	models.ReadOnly = true
	Expect(api.Create(ctx, pool.New(s.namespace, v1alpha1.RunnerPoolSpec{
		DefaultStore: new("pictures"),
		Stores:       []v1alpha1.OutputStore{store("pictures", "s3://pictures/atelier"), store("nowhere", "s3://nowhere"), models, {Name: "volume", URL: "file:///"}},
	}, nil))).To(Succeed())
	return server
}

// fillBucket puts the files of a directory into the folder tiny of the bucket models, with a
// list of them, which it gives.
func fillBucket(server *s3server.Server, dir string) (sums string) {
	GinkgoHelper()
	Expect(fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		server.Fill(GinkgoTB(), "models", "tiny/"+name, data)
		sums += fmt.Sprintf("%x  %s\n", sha256.Sum256(data), name)
		return err
	})).To(Succeed())
	server.Fill(GinkgoTB(), "models", "tiny/SHA256SUMS", []byte(sums))
	return sums
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

	It("may be the outputs volume, which a job chooses by their name", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openStores(ctx)
		s.submit(ctx, job("apple", withStore("volume")))
		output := s.ended(ctx, "apple", v1alpha1.PhaseSucceeded).Status.Outputs[0]
		Expect(output.URL).To(BeEmpty())
		Expect(filepath.Join(s.outputs, output.Path)).To(BeARegularFile())
	}, SpecTimeout(2*time.Minute))

	It("lend their credentials to a model in a bucket, which then has the digest of its list", func(ctx SpecContext) {
		s := newStudio(ctx)
		server := s.openStores(ctx)
		sums := fillBucket(server, filepath.Join(s.models, "tiny"))
		s.mustApply(ctx, fmt.Sprintf(bucketModelManifest, server.URL))
		bucketed := func(spec *v1alpha1.GenerationJobSpec) { spec.ModelRef.Name = "bucketed" }
		s.submit(ctx, job("apple", bucketed))
		s.ended(ctx, "apple", v1alpha1.PhaseSucceeded)
		var model v1alpha1.Model
		Expect(api.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "bucketed"}, &model)).To(Succeed())
		Expect(model.Status.Digest).To(Equal(fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(sums)))))
		Expect(model.Status.Conditions).To(haveCondition(v1alpha1.ConditionVerified, metav1.ConditionTrue, v1alpha1.ReasonDigestMatches))
	}, SpecTimeout(2*time.Minute))

	It("keep a job waiting that names one which the pool does not have", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openStores(ctx)
		s.submit(ctx, job("early", withStore("later")))
		Eventually(func() []metav1.Condition { return s.job(ctx, "early").Status.Conditions }).
			Should(haveCondition(v1alpha1.ConditionScheduled, metav1.ConditionFalse, v1alpha1.ReasonStoreNotFound))
		Expect(messageOf(s.job(ctx, "early").Status.Conditions, v1alpha1.ConditionScheduled)).To(ContainSubstring("later"))
	}, SpecTimeout(time.Minute))

	It("keep a job waiting that names one which is there for models", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openStores(ctx)
		s.submit(ctx, job("early", withStore("models")))
		Eventually(func() []metav1.Condition { return s.job(ctx, "early").Status.Conditions }).
			Should(haveCondition(v1alpha1.ConditionScheduled, metav1.ConditionFalse, v1alpha1.ReasonStoreNotFound))
		Expect(messageOf(s.job(ctx, "early").Status.Conditions, v1alpha1.ConditionScheduled)).To(ContainSubstring(`"models" that may be written to`))
	}, SpecTimeout(time.Minute))
})
