// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

const (
	emoji = "emoji"

	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// ociModel is a model in a registry, of which nothing is known.
func ociModel() *v1alpha1.Model {
	return &v1alpha1.Model{
		ObjectMeta: metav1.ObjectMeta{Name: emoji, UID: "model", Generation: 1},
		Spec:       v1alpha1.ModelSpec{Source: v1alpha1.ModelSource{OCI: &v1alpha1.OCISource{Reference: "ghcr.io/a/b:c"}}},
		Status:     v1alpha1.ModelStatus{ObservedGeneration: -1},
	}
}

// fetching is a runner that reports on a job with the model.
func fetching(name string, report v1alpha1.AssignmentReport) v1alpha1.Runner {
	report.UID, report.Attempt = "job", 1
	return v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.RunnerSpec{Assignments: []v1alpha1.Assignment{{
			UID: "job", Attempt: 1, Model: v1alpha1.AssignedModel{Name: emoji, UID: "model", Generation: 1},
		}}},
		Status: v1alpha1.RunnerStatus{Assignments: []v1alpha1.AssignmentReport{report}},
	}
}

// loadedWith is a runner that has loaded the model.
func loadedWith(digest string) v1alpha1.Runner {
	return v1alpha1.Runner{Status: v1alpha1.RunnerStatus{Model: &v1alpha1.LoadedModel{
		Name: emoji, UID: "model", Generation: 1, Digest: digest,
		ModelFacts: v1alpha1.ModelFacts{Family: "Stable Diffusion", SizeBytes: 10, Parameters: 5},
	}}}
}

func TestModelDigestIsRecordedOnce(t *testing.T) {
	g := NewWithT(t)
	model := ociModel()
	decide := func(runners ...v1alpha1.Runner) *metav1.Condition {
		model.Status = decideModel(model, runners, time.Unix(1, 0))
		return meta.FindStatusCondition(model.Status.Conditions, v1alpha1.ConditionVerified)
	}
	g.Expect(decide()).To(HaveField("Reason", "NotPulled"))
	g.Expect(modelDigest(model)).To(BeEmpty())

	pull := func(digest string) v1alpha1.AssignmentReport {
		return v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseModelLoading, Pull: &v1alpha1.ModelPull{Digest: digest}}
	}
	g.Expect(decide(fetching("a", pull(digestA)), fetching("b", pull(digestB)))).To(HaveField("Status", metav1.ConditionUnknown))
	g.Expect(modelDigest(model)).To(Equal(digestA))

	g.Expect(decide(loadedWith(digestB))).To(HaveField("Status", metav1.ConditionUnknown), "other bytes than those recorded verify nothing")
	g.Expect(decide(loadedWith(digestA))).To(And(HaveField("Status", metav1.ConditionTrue), HaveField("Reason", "DigestMatches")))
	g.Expect(model.Status.ModelFacts).To(Equal(v1alpha1.ModelFacts{Family: "Stable Diffusion", SizeBytes: 10, Parameters: 5}))
	g.Expect(decide()).To(HaveField("Status", metav1.ConditionTrue), "what was verified stays so")

	model.Generation = 2
	g.Expect(modelDigest(model)).To(BeEmpty(), "another generation is looked up again")
	g.Expect(decide()).To(HaveField("Reason", "NotPulled"))
	g.Expect(model.Status.Digest).To(BeEmpty())
}

func TestModelIsNotVerified(t *testing.T) {
	g := NewWithT(t)
	model := ociModel()
	failed := v1alpha1.AssignmentReport{Phase: v1alpha1.PhaseFailed, Error: &v1alpha1.AssignmentError{
		Reason: v1alpha1.ReasonModelVerifyFailed, Message: "the digest is wrong",
	}}
	status := decideModel(model, []v1alpha1.Runner{fetching("a", failed)}, time.Unix(1, 0))
	for _, condition := range []string{v1alpha1.ConditionVerified, v1alpha1.ConditionLoadable} {
		g.Expect(meta.FindStatusCondition(status.Conditions, condition)).To(And(
			HaveField("Status", metav1.ConditionFalse), HaveField("Reason", "ModelVerifyFailed"), HaveField("Message", ContainSubstring("the digest is wrong"))))
	}
}

func TestModelDigestOfTheSpec(t *testing.T) {
	g := NewWithT(t)
	model := ociModel()
	model.Spec.Source.OCI.Digest = digestB
	g.Expect(modelDigest(model)).To(Equal(digestB))
	g.Expect(decideModel(model, nil, time.Unix(1, 0)).Digest).To(Equal(digestB))
	model.Spec.Source = v1alpha1.ModelSource{HTTP: &v1alpha1.HTTPSource{URL: "https://example.com/m.tar", SHA256: digestA[len("sha256:"):]}}
	g.Expect(modelDigest(model)).To(Equal(digestA))
	model.Spec.Source = v1alpha1.ModelSource{Bucket: &v1alpha1.BucketSource{URL: "s3://models/emoji", SHA256: digestB[len("sha256:"):]}}
	g.Expect(modelDigest(model)).To(Equal(digestB))
	model.Spec.Source.Bucket.SHA256 = ""
	g.Expect(modelDigest(model)).To(BeEmpty())
	model.Status = v1alpha1.ModelStatus{ObservedGeneration: model.Generation, Digest: digestA}
	g.Expect(modelDigest(model)).To(Equal(digestA), "what the first runner found")
	model.Spec.Source = v1alpha1.ModelSource{Path: "emoji"}
	status := decideModel(model, nil, time.Unix(1, 0))
	g.Expect(meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionVerified)).To(HaveField("Reason", "NoDigest"))
}

func TestLoadProgress(t *testing.T) {
	for want, pull := range map[string]*v1alpha1.ModelPull{
		"loading the model":                       nil,
		"fetching the model: 0.0 of 2000.0 MB":    {TotalBytes: 2e9},
		"fetching the model: 1234.5 of 2000.0 MB": {DoneBytes: 1_234_500_000, TotalBytes: 2e9},
		"fetching the model: 3.0 MB so far":       {DoneBytes: 3e6},
	} {
		if got := loadProgress(pull); got != want {
			t.Errorf("loadProgress(%+v) is %q; want %q", pull, got, want)
		}
	}
}
