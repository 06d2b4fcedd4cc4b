// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// labelManagedBy is on everything the manager makes, with the value managedBy.
const (
	labelManagedBy = "app.kubernetes.io/managed-by"
	managedBy      = "atelier-manager"
)

// runnerLabels are on everything that a runner of the pool consists of.
func runnerLabels(pool string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":      "atelier",
		"app.kubernetes.io/component": "runner",
		labelManagedBy:                managedBy,
		v1alpha1.LabelPool:            pool,
	}
}

// runnerNameOf is the name of a runner: of its pod, its Runner, its service account, its
// role and its role binding. Names are a function of pool and ordinal, so that creating
// one twice is refused by the API server however old the manager's view is.
func runnerNameOf(pool string, ordinal int) string {
	return fmt.Sprintf("%s-%d", pool, ordinal)
}

// ordinalOf is the inverse of runnerNameOf.
func ordinalOf(pool, name string) (int, bool) {
	suffix, found := strings.CutPrefix(name, pool+"-")
	ordinal, err := strconv.Atoi(suffix)
	return ordinal, found && err == nil && ordinal >= 0
}

// identity returns what lets the runner of an ordinal reach its own Runner, and nothing
// else: which half of it the runner may write is in the role, and that only the runner's
// present pod may is in the admission policy.
func identity(pool *v1alpha1.RunnerPool, ordinal int) []client.Object {
	meta := metav1.ObjectMeta{
		Name:      runnerNameOf(pool.Name, ordinal),
		Namespace: pool.Namespace,
		Labels:    runnerLabels(pool.Name),
	}
	return []client.Object{
		serviceAccount(pool, meta),
		&rbacv1.Role{ObjectMeta: *meta.DeepCopy(), Rules: runnerRules(meta.Name)},
		&rbacv1.RoleBinding{
			ObjectMeta: *meta.DeepCopy(),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: meta.Name, Namespace: meta.Namespace}},
		},
	}
}

// serviceAccount makes the account of a runner, with the pool's annotations.
func serviceAccount(pool *v1alpha1.RunnerPool, meta metav1.ObjectMeta) *corev1.ServiceAccount {
	account := &corev1.ServiceAccount{ObjectMeta: *meta.DeepCopy()}
	account.Annotations = annotated(nil, pool.Spec.ServiceAccountAnnotations)
	return account
}

// annotated returns the annotations of an account that is to have the pool's. Those that it
// had from the pool before go; AnnotationPoolAnnotations has their keys. Those of others stay.
func annotated(have, pool map[string]string) map[string]string {
	want := merged(have, nil)
	for key := range strings.FieldsSeq(have[v1alpha1.AnnotationPoolAnnotations]) {
		delete(want, key)
	}
	delete(want, v1alpha1.AnnotationPoolAnnotations)
	if len(pool) > 0 {
		maps.Copy(want, pool)
		want[v1alpha1.AnnotationPoolAnnotations] = strings.Join(slices.Sorted(maps.Keys(pool)), " ")
	}
	return want
}

// runnerRules allow reading one Runner and writing its status.
func runnerRules(runner string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{
			APIGroups:     []string{v1alpha1.GroupVersion.Group},
			Resources:     []string{"runners"},
			ResourceNames: []string{runner},
			Verbs:         []string{"get", "list", "watch"},
		},
		{
			APIGroups:     []string{v1alpha1.GroupVersion.Group},
			Resources:     []string{"runners/status"},
			ResourceNames: []string{runner},
			Verbs:         []string{"patch", "update"},
		},
	}
}

// mailbox makes the Runner of a pod.
func mailbox(pool *v1alpha1.RunnerPool, pod *corev1.Pod) *v1alpha1.Runner {
	return &v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{
			Name:      pod.Name,
			Namespace: pod.Namespace,
			Labels:    runnerLabels(pool.Name),
		},
		Spec: v1alpha1.RunnerSpec{PoolName: pool.Name, PodUID: pod.UID},
	}
}
