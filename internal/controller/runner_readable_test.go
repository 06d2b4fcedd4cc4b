// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// One Runner that Go can't read would keep the manager from listing any, for ever after.
var _ = Describe("What a runner says", func() {
	condition := func(time string) string {
		return `{"conditions": [{"type": "Ready", "status": "True", "reason": "Started", "message": "", "lastTransitionTime": "` + time + `"}]}`
	}
	stage := func(times string) string {
		return `{"assignments": [{"uid": "1", "attempt": 1, "phase": "Generating", "progress": 10, "stages": [{"phase": "Generating", ` + times + `}]}]}`
	}
	model := func(field string) string {
		return `{"model": {"name": "emoji", "uid": "1", "generation": 1, ` + field + `}}`
	}
	DescribeTable("can be read, or is refused by the field's name",
		func(ctx SpecContext, status, field string) {
			n := inNewNamespace(ctx)
			n.createModel()
			n.createPool()
			n.createJob("apple")
			runner := n.startRunner("default-0")
			object := &unstructured.Unstructured{}
			object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Runner"))
			object.SetNamespace(n.name)
			object.SetName("default-0")
			err := runner.client.Status().Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(`{"status": `+status+`}`)))
			var runners v1alpha1.RunnerList
			read := admin.List(ctx, &runners)
			Expect(admin.Delete(ctx, object)).To(Succeed()) // Else it breaks all tests that follow.
			Expect(read).To(Succeed())
			if field == "" {
				Expect(err).NotTo(HaveOccurred())
				return
			}
			Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
			Expect(err).To(MatchError(ContainSubstring("status." + field)))
		},
		Entry("a time", `{"startTime": "2026-01-01T12:00:00.123456Z"}`, ""),
		Entry("a time of whole seconds", `{"readyTime": "2026-01-01T12:00:00Z"}`, "readyTime"),
		Entry("a time in small letters", `{"startTime": "2026-01-01t12:00:00.123456z"}`, "startTime"),
		Entry("a time of a zone that is none", `{"readyTime": "2026-01-01T12:00:00.123456+99:99"}`, "readyTime"),
		Entry("a time with another sign for the fraction", model(`"loadTime": "2026-01-01T12:00:00x123456Z"`), "model.loadTime"),
		Entry("the time of a condition", condition("2026-01-01T12:00:00Z"), ""),
		Entry("the time of a condition in small letters", condition("2026-01-01t12:00:00z"), "conditions"),
		Entry("the time of a condition of a zone that is none", condition("2026-01-01T12:00:00+99:99"), "conditions"),
		Entry("the begin of a stage in small letters", stage(`"startTime": "2026-01-01t12:00:00.123456z"`), "assignments[0].stages[0].startTime"),
		Entry("the end of a stage in small letters", stage(`"startTime": "2026-01-01T12:00:00.123456Z", "endTime": "2026-01-01t12:00:00.123456z"`), "assignments[0].stages[0].endTime"),
		Entry("a duration", model(`"loadDuration": "1.5µs"`), ""),
		Entry("a duration in days", model(`"loadDuration": "1d"`), ""),
		Entry("a long duration", model(`"loadDuration": "99999999999999999999999999999999h"`), "model.loadDuration"),
		Entry("a number that is too large", `{"observedGeneration": 1e30}`, "observedGeneration"),
	)
})
