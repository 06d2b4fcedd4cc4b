// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/controller"
)

var _ = Describe("A runner's token", func() {
	forbidden := WithTransform(apierrors.IsForbidden, BeTrue())
	as := func(config *rest.Config) client.Client {
		GinkgoHelper()
		c, err := client.New(config, client.Options{Scheme: controller.NewScheme()})
		Expect(err).NotTo(HaveOccurred())
		return c
	}
	// startTwo starts two runners and returns the uids of their pods.
	startTwo := func(n *namespace) (own, other string) {
		GinkgoHelper()
		n.createPool(twoRunners, func(spec *v1alpha1.RunnerPoolSpec) { spec.MinRunners = ptr.To[int32](2) })
		n.startRunner("default-0")
		n.startRunner("default-1")
		return string(n.podUID("default-0")()), string(n.podUID("default-1")())
	}

	It("reads its own Runner and writes its status", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		own, _ := startTwo(n)
		c := as(env.Pod(n.name, "default-0", own, "default-0"))
		var runner v1alpha1.Runner
		Expect(c.Get(ctx, n.key("default-0"), &runner)).To(Succeed())
		runner.Status.Version = "test"
		Expect(c.Status().Update(ctx, &runner)).To(Succeed())
		Expect(c.List(ctx, &v1alpha1.RunnerList{}, client.InNamespace(n.name), client.MatchingFields{"metadata.name": "default-0"})).To(Succeed())
	})

	It("can do nothing else", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		own, _ := startTwo(n)
		n.createModel()
		job := n.createJob("apple")
		c := as(env.Pod(n.name, "default-0", own, "default-0"))

		var runner, other v1alpha1.Runner
		Expect(c.Get(ctx, n.key("default-0"), &runner)).To(Succeed())
		Expect(c.Update(ctx, &runner)).To(forbidden, "the spec of its Runner")
		Expect(c.Delete(ctx, &runner)).To(forbidden)
		Expect(c.List(ctx, &v1alpha1.RunnerList{}, client.InNamespace(n.name))).To(forbidden, "all Runners")
		Expect(c.Get(ctx, n.key("default-1"), &other)).To(forbidden, "another Runner")
		Expect(admin.Get(ctx, n.key("default-1"), &other)).To(Succeed())
		Expect(c.Status().Update(ctx, &other)).To(forbidden, "another Runner's status")
		Expect(c.Get(ctx, n.key("apple"), job)).To(forbidden)
		Expect(c.Get(ctx, n.key("emoji"), &v1alpha1.Model{})).To(forbidden)
		Expect(c.Get(ctx, n.key("default"), &v1alpha1.RunnerPool{})).To(forbidden)
		Expect(c.List(ctx, &corev1.SecretList{}, client.InNamespace(n.name))).To(forbidden)
		Expect(c.List(ctx, &corev1.PodList{}, client.InNamespace(n.name))).To(forbidden)
	})

	It("is good for one pod only", func(ctx SpecContext) {
		n := inNewNamespace(ctx)
		own, other := startTwo(n)
		const account = "default-0"
		for what, c := range map[string]client.Client{
			"a pod of another name with the same service account": as(env.Pod(n.name, "intruder", own, account)),
			"an earlier pod of the same name":                     as(env.Pod(n.name, "default-0", other, account)),
			"a token that is bound to no pod":                     as(env.ServiceAccount(n.name, account, nil)),
			"the cluster's administrator":                         admin,
		} {
			var runner v1alpha1.Runner
			Expect(c.Get(ctx, n.key("default-0"), &runner)).To(Succeed())
			runner.Status.Version = "forged"
			Expect(c.Status().Update(ctx, &runner)).To(And(
				forbidden,
				MatchError(ContainSubstring("only pod default-0 with uid "+own+" may write the status of this Runner")),
			), what)
		}
	})
})

var _ = Describe("A person", func() {
	DescribeTable("may do what one of these roles lets them, which the cluster's own roles include",
		func(ctx SpecContext, role string, can ...string) {
			n := inNewNamespace(ctx)
			out, err := env.Kubectl("create", "rolebinding", role, "--clusterrole="+role, "--user="+role, "-n", n.name)
			Expect(err).NotTo(HaveOccurred(), out)
			mayI := func(what string) func() string {
				return func() string {
					// An answer of no makes kubectl end with an error.
					answer, _ := env.Kubectl(append([]string{"auth", "can-i", "--as=" + role, "-n", n.name}, strings.Fields(what)...)...)
					return strings.TrimSpace(answer)
				}
			}
			for _, what := range can {
				Eventually(mayI(what)).Should(Equal("yes"), what)
			}
			for _, what := range []string{"update runners", "create pods", "patch runners --subresource=status", "patch generationjobs --subresource=status"} {
				Expect(mayI(what)()).To(Equal("no"), what)
			}
		},
		Entry("to look", "atelier-viewer", "get generationjobs", "watch runnerpools"),
		Entry("to make pictures", "atelier-editor", "create generationjobs", "delete models"),
		Entry("to make pools", "atelier-pool-admin", "create runnerpools", "list runners"),
	)
})
