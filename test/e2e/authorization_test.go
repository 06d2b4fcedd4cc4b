// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// updateAuthorization is set to write the table anew: ATELIER_UPDATE=1.
var updateAuthorization = os.Getenv("ATELIER_UPDATE") != ""

// bearer is somebody with a token.
type bearer struct {
	name string
	as   client.WithWatch
}

var _ = Describe("Who may do what", func() {
	It("is what test/testdata/authorization/allowed.txt says, for every verb on every kind", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPoolOf(ctx, 2, 2, "10m")
		runners := []*v1alpha1.Runner{s.readyRunner(ctx, "default-0"), s.readyRunner(ctx, "default-1")}
		questions := s.questions()
		everyone := bearer{"everyone", clientWith(s.token(ctx, "default"))}
		common := answers(ctx, everyone, questions)

		table := []string{"# What is allowed, as test/e2e/authorization_test.go finds it; all else is refused.",
			"# Regenerate with ATELIER_UPDATE=1 and read the difference."}
		table = append(table, lines(everyone, common, nil)...)
		for _, b := range append(s.runnersAndManager(ctx), s.people(ctx)...) {
			table = append(table, lines(b, answers(ctx, b, questions), common)...)
			for _, runner := range runners {
				err := patchStatus(ctx, b.as, runner)
				if err == nil {
					table = append(table, fmt.Sprintf("%s | request | status of %s | patch", b.name, runner.Name))
					continue
				}
				Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%s: %v", b.name, err)
			}
		}
		AddReportEntry("questions", fmt.Sprintf("%d questions, %d lines allow something", 8*len(questions), len(table)-2))
		compareTable(table)
	}, SpecTimeout(4*time.Minute))
})

// runnersAndManager are the programs, each with the token that its pod has.
func (s *studio) runnersAndManager(ctx context.Context) []bearer {
	GinkgoHelper()
	second := s.firstPod(ctx).DeepCopy()
	Expect(api.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "default-1"}, second)).To(Succeed())
	bearers := []bearer{{"runner's account, bound to no pod", clientWith(s.token(ctx, "default-0"))}}
	for name, pod := range map[string]func() (string, error){
		"runner":         func() (string, error) { return cluster.PodToken(ctx, s.firstPod(ctx)) },
		"another runner": func() (string, error) { return cluster.PodToken(ctx, second) },
		"manager":        func() (string, error) { return cluster.PodToken(ctx, managerPod(ctx)) },
	} {
		token, err := pod()
		Expect(err).NotTo(HaveOccurred())
		bearers = append(bearers, bearer{name, clientWith(token)})
	}
	return bearers
}

// people have one of the roles of config/rbac/users.yaml in the studio's namespace.
func (s *studio) people(ctx context.Context) []bearer {
	GinkgoHelper()
	var bearers []bearer
	for _, role := range []string{"atelier-viewer", "atelier-editor", "atelier-pool-admin"} {
		Expect(api.Create(ctx, serviceAccount(s.namespace, role))).To(Succeed())
		Expect(api.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.namespace, Name: role}},
		})).To(Succeed())
		bearers = append(bearers, bearer{role, clientWith(s.token(ctx, role))})
	}
	return bearers
}

func (s *studio) token(ctx context.Context, account string) string {
	GinkgoHelper()
	token, err := cluster.ServiceAccountToken(ctx, s.namespace, account)
	Expect(err).NotTo(HaveOccurred())
	return token
}

// question is whether somebody may do something, and where the table says it.
type question struct {
	scope      string
	attributes authorizationv1.ResourceAttributes
}

// beyond are verbs that no request has and that give power all the same.
var beyond = []authorizationv1.ResourceAttributes{
	{Verb: "impersonate", Resource: "users"}, {Verb: "impersonate", Resource: "groups"}, {Verb: "impersonate", Resource: "serviceaccounts"},
	{Verb: "bind", Group: rbacv1.GroupName, Resource: "clusterroles"}, {Verb: "escalate", Group: rbacv1.GroupName, Resource: "clusterroles"},
	{Verb: "approve", Group: "certificates.k8s.io", Resource: "signers"}, {Verb: "sign", Group: "certificates.k8s.io", Resource: "signers"},
}

// questions are about every verb of every kind that the API server says it serves: in the
// studio's namespace, there about the objects of the first runner, and in the manager's.
func (s *studio) questions() []question {
	GinkgoHelper()
	served, err := discovery.NewDiscoveryClientForConfig(cluster.Config())
	Expect(err).NotTo(HaveOccurred())
	_, lists, err := served.ServerGroupsAndResources()
	Expect(err).NotTo(HaveOccurred())
	var all []question
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		Expect(err).NotTo(HaveOccurred())
		for _, resource := range list.APIResources {
			name, subresource, _ := strings.Cut(resource.Name, "/")
			for _, verb := range resource.Verbs {
				all = append(all, s.scopes(resource.Namespaced, authorizationv1.ResourceAttributes{
					Verb: verb, Group: version.Group, Resource: name, Subresource: subresource,
				})...)
			}
		}
	}
	for _, attributes := range beyond {
		all = append(all, question{"cluster", attributes})
	}
	Expect(len(all)).To(BeNumerically(">", 500))
	return all
}

func (s *studio) scopes(namespaced bool, attributes authorizationv1.ResourceAttributes) []question {
	if !namespaced {
		return []question{{"cluster", attributes}}
	}
	own, named, system := attributes, attributes, attributes
	own.Namespace, named.Namespace, system.Namespace = s.namespace, s.namespace, "atelier-system"
	named.Name = "default-0"
	return []question{{"own namespace", own}, {"own namespace, default-0", named}, {"atelier-system", system}}
}

// answers asks the API server with the bearer's own token. It returns, for each scope and
// kind, the verbs that are allowed.
func answers(ctx context.Context, b bearer, questions []question) map[string][]string {
	GinkgoHelper()
	allowed := make([]bool, len(questions))
	var group sync.WaitGroup
	for worker := range objectWorkers {
		group.Go(func() {
			defer GinkgoRecover()
			for i := worker; i < len(questions); i += objectWorkers {
				review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
					ResourceAttributes: &questions[i].attributes,
				}}
				Expect(b.as.Create(ctx, review)).To(Succeed())
				allowed[i] = review.Status.Allowed
			}
		})
	}
	group.Wait()
	verbs := map[string][]string{}
	for i, q := range questions {
		if key := q.key(); allowed[i] && !slices.Contains(verbs[key], q.attributes.Verb) {
			verbs[key] = append(verbs[key], q.attributes.Verb)
		}
	}
	return verbs
}

func (q *question) key() string {
	resource := q.attributes.Resource
	if q.attributes.Subresource != "" {
		resource += "/" + q.attributes.Subresource
	}
	if q.attributes.Group != "" {
		resource += "." + q.attributes.Group
	}
	return q.scope + " | " + resource
}

// lines are those of the table for a bearer. What everyone may do is said once; so is what
// is allowed whatever the object's name.
func lines(b bearer, allowed, common map[string][]string) []string {
	var table []string
	for key, verbs := range allowed {
		anyName, named := strings.CutPrefix(key, "own namespace, default-0")
		verbs = slices.DeleteFunc(slices.Clone(verbs), func(verb string) bool {
			return slices.Contains(common[key], verb) || named && slices.Contains(allowed["own namespace"+anyName], verb)
		})
		if len(verbs) > 0 {
			slices.Sort(verbs)
			table = append(table, fmt.Sprintf("%s | %s | %s", b.name, key, strings.Join(verbs, " ")))
		}
	}
	return table
}

// compareTable compares the table with the one that is checked in, or replaces that.
func compareTable(table []string) {
	GinkgoHelper()
	slices.Sort(table[2:])
	path := filepath.Join(root, "test", "testdata", "authorization", "allowed.txt")
	if updateAuthorization {
		Expect(os.MkdirAll(filepath.Dir(path), 0o750)).To(Succeed())
		Expect(os.WriteFile(path, []byte(strings.Join(table, "\n")+"\n"), 0o600)).To(Succeed())
		return
	}
	wanted, err := os.ReadFile(path)
	Expect(err).NotTo(HaveOccurred())
	Expect(table).To(Equal(strings.Split(strings.TrimSuffix(string(wanted), "\n"), "\n")), "see the head of %s", path)
}
