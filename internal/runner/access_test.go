// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"testing"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// restricted gives the configuration of a user who may read the Runner and patch its
// status, by name, and nothing else.
func (c *cluster) restricted() *rest.Config {
	c.Helper()
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: runnerName},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"runners"},
			ResourceNames: []string{runnerName}, Verbs: []string{"get", "list", "watch"},
		}, {
			APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"runners/status"},
			ResourceNames: []string{runnerName}, Verbs: []string{"patch"},
		}},
	}
	user := "runner-of-" + c.namespace
	binding := &rbacv1.RoleBinding{
		ObjectMeta: role.ObjectMeta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	for _, object := range []client.Object{role, binding} {
		c.Expect(c.api.Create(c.Context(), object)).To(Succeed())
	}
	authenticated, err := environment.AddUser(envtest.User{Name: user}, nil)
	c.Expect(err).NotTo(HaveOccurred())
	return authenticated.Config()
}

func TestRightsOnTheOwnRunnerSuffice(t *testing.T) {
	c := newCluster(t)
	c.runner(assignment("a", 1, "cat"))
	p := c.start(withRestConfig(c.restricted()))
	// Cover what is done after a refused write as well.
	p.line.set(p.line.only(2, conflicting))
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	c.assign()
	c.awaitGone("a")
	c.Expect(p.log.String()).NotTo(ContainSubstring("forbidden"))
}

func TestRightsThatComeLateAreWaitedFor(t *testing.T) {
	c := newCluster(t)
	authenticated, err := environment.AddUser(envtest.User{Name: "runner-of-" + c.namespace}, nil)
	c.Expect(err).NotTo(HaveOccurred())
	c.runner(assignment("a", 1, "cat"))
	p := c.start(withRestConfig(authenticated.Config()))
	c.Eventually(libraryLog.String).Should(ContainSubstring(c.namespace + `\" cannot list`))
	c.Expect(p.agent.Ready()).NotTo(Succeed())
	c.restricted()
	c.awaitPhase("a", v1alpha1.PhaseSucceeded)
}
