// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

var _ = Describe("A runner's token", func() {
	var (
		s        *studio
		as       client.WithWatch // with the token of default-0
		own, two *v1alpha1.Runner
	)

	BeforeEach(func(ctx SpecContext) {
		s = newStudio(ctx)
		s.openPoolOf(ctx, 2, 2, "10m")
		own, two = s.readyRunner(ctx, "default-0"), s.readyRunner(ctx, "default-1")
		token, err := cluster.PodToken(ctx, s.firstPod(ctx))
		Expect(err).NotTo(HaveOccurred())
		as = clientWith(token)
	})

	It("reads its own Runner and writes its status", func(ctx SpecContext) {
		Expect(as.Get(ctx, client.ObjectKeyFromObject(own), &v1alpha1.Runner{})).To(Succeed())
		Expect(patchStatus(ctx, as, own)).To(Succeed())
		watcher, err := as.Watch(ctx, &v1alpha1.RunnerList{}, client.InNamespace(s.namespace), client.MatchingFields{"metadata.name": own.Name})
		Expect(err).NotTo(HaveOccurred())
		watcher.Stop()
	}, SpecTimeout(time.Minute))

	It("does nothing else", func(ctx SpecContext) {
		secret := &corev1.Secret{}
		secret.Namespace, secret.Name = s.namespace, "any"
		Expect(api.Create(ctx, secret)).To(Succeed())
		theJob := s.submit(ctx, job("any", withModel("none")))
		for what, err := range map[string]error{
			"read another Runner":               as.Get(ctx, client.ObjectKeyFromObject(two), &v1alpha1.Runner{}),
			"list Runners":                      as.List(ctx, &v1alpha1.RunnerList{}, client.InNamespace(s.namespace)),
			"list Runners everywhere":           as.List(ctx, &v1alpha1.RunnerList{}),
			"write another Runner's status":     patchStatus(ctx, as, two),
			"write its own spec":                as.Patch(ctx, own.DeepCopy(), mergePatch(`{"spec":{"assignments":[]}}`)),
			"delete its own Runner":             as.Delete(ctx, own.DeepCopy()),
			"read a job":                        as.Get(ctx, client.ObjectKeyFromObject(theJob), &v1alpha1.GenerationJob{}),
			"write a job's status":              as.Status().Patch(ctx, theJob.DeepCopy(), mergePatch(`{"status":{"progress":1}}`)),
			"read a model":                      as.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "tiny"}, &v1alpha1.Model{}),
			"read a pool":                       as.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "default"}, &v1alpha1.RunnerPool{}),
			"read its own pod":                  as.Get(ctx, client.ObjectKeyFromObject(own), &corev1.Pod{}),
			"read a Secret":                     as.Get(ctx, client.ObjectKeyFromObject(secret), &corev1.Secret{}),
			"create a token of its own account": as.SubResource("token").Create(ctx, serviceAccount(s.namespace, own.Name), &authenticationv1.TokenRequest{}),
		} {
			Expect(apierrors.IsForbidden(err)).To(BeTrue(), "may %s: %v", what, err)
		}
	}, SpecTimeout(time.Minute))

	It("has no rule for anything else", func(ctx SpecContext) {
		token, err := cluster.ServiceAccountToken(ctx, s.namespace, "default")
		Expect(err).NotTo(HaveOccurred())
		anybody := rulesOf(ctx, clientWith(token), s.namespace)
		Expect(rulesOf(ctx, as, s.namespace)).To(ConsistOf(append(anybody, ownRules(own.Name)...)))
		Expect(rulesOf(ctx, as, "atelier-system")).To(ConsistOf(anybody))
	}, SpecTimeout(time.Minute))

	It("is refused where it is not bound to the very pod", func(ctx SpecContext) {
		By("a token of the same service account that is bound to nothing")
		token, err := cluster.ServiceAccountToken(ctx, s.namespace, own.Name)
		Expect(err).NotTo(HaveOccurred())
		unbound := clientWith(token)
		Expect(unbound.Get(ctx, client.ObjectKeyFromObject(own), &v1alpha1.Runner{})).To(Succeed())
		Expect(patchStatus(ctx, unbound, own)).To(MatchError(ContainSubstring("only pod default-0 with uid " + string(own.Spec.PodUID))))

		By("the token of another pod that runs with the same service account")
		thief := &corev1.Pod{Spec: corev1.PodSpec{
			ServiceAccountName: own.Name,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "main", Image: "shell", Command: []string{"/bin/sh", "-c", "exec sleep 1000"},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		}}
		thief.Namespace, thief.Name = s.namespace, "thief"
		Expect(api.Create(ctx, thief)).To(Succeed())
		token, err = cluster.PodToken(ctx, thief)
		Expect(err).NotTo(HaveOccurred())
		Expect(patchStatus(ctx, clientWith(token), own)).To(MatchError(ContainSubstring("only pod default-0")))

		By("the administrator, who is nobody's pod")
		Expect(patchStatus(ctx, api, own)).To(MatchError(ContainSubstring("only pod default-0")))
	}, SpecTimeout(time.Minute))
})

var _ = Describe("The manager", func() {
	It("runs with its own service account and no more rights than it needs", func(ctx SpecContext) {
		pod := managerPod(ctx)
		Expect(pod.Spec.ServiceAccountName).To(Equal("atelier-manager"))
		token, err := cluster.PodToken(ctx, pod)
		Expect(err).NotTo(HaveOccurred())
		as := clientWith(token)
		Expect(as.List(ctx, &v1alpha1.GenerationJobList{})).To(Succeed())
		for what, err := range map[string]error{
			"read Secrets":    as.List(ctx, &corev1.SecretList{}),
			"read ConfigMaps": as.List(ctx, &corev1.ConfigMapList{}),
			"create a job":    as.Create(ctx, forgedJob()),
			"bind itself to the administrator's role": as.Create(ctx, clusterAdmin("atelier-system", "atelier-manager")),
		} {
			Expect(apierrors.IsForbidden(err)).To(BeTrue(), "may %s: %v", what, err)
		}
	}, SpecTimeout(time.Minute))
})

// ownRules is what the role of a runner says.
func ownRules(name string) []string {
	return []string{
		"get runners " + name, "list runners " + name, "watch runners " + name,
		"patch runners/status " + name, "update runners/status " + name,
	}
}

// rulesOf lists what the bearer of a client may do with which resource in a namespace.
func rulesOf(ctx context.Context, as client.Client, namespace string) []string {
	GinkgoHelper()
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	Expect(as.Create(ctx, review)).To(Succeed())
	var rules []string
	for _, rule := range review.Status.ResourceRules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				rules = append(rules, strings.TrimSpace(fmt.Sprintf("%s %s %s", verb, resource, strings.Join(rule.ResourceNames, ","))))
			}
		}
	}
	return rules
}

// patchStatus writes a field of a Runner's status that says nothing.
func patchStatus(ctx context.Context, as client.Client, r *v1alpha1.Runner) error {
	return as.Status().Patch(ctx, r.DeepCopy(), mergePatch(fmt.Sprintf(`{"status":{"version":%q}}`, r.Status.Version)))
}

func mergePatch(json string) client.Patch {
	return client.RawPatch(types.MergePatchType, []byte(json))
}

// clientWith speaks as the bearer of a token.
func clientWith(token string) client.WithWatch {
	GinkgoHelper()
	as, err := client.NewWithWatch(cluster.TokenConfig(token), client.Options{Scheme: scheme()})
	Expect(err).NotTo(HaveOccurred())
	return as
}

// managerPod is the one pod of the manager's Deployment.
func managerPod(ctx context.Context) *corev1.Pod {
	GinkgoHelper()
	pods := managerPods(ctx)
	Expect(pods).To(HaveLen(1))
	return &pods[0]
}

// managerPods are all pods of that Deployment, those that are about to end included.
func managerPods(ctx context.Context) []corev1.Pod {
	GinkgoHelper()
	var pods corev1.PodList
	Expect(api.List(ctx, &pods, client.InNamespace("atelier-system"), client.MatchingLabels{"app.kubernetes.io/component": "manager"})).To(Succeed())
	return pods.Items
}

func serviceAccount(namespace, name string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func forgedJob() *v1alpha1.GenerationJob {
	forged := job("forged")
	forged.Namespace = metav1.NamespaceDefault
	return forged
}

// clusterAdmin binds a service account to the role that may do everything.
func clusterAdmin(namespace, name string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "forged"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	}
}
