// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// poolKey is where the pool of a job is, if there is one.
func poolKey(job *v1alpha1.GenerationJob) types.NamespacedName {
	ref := ptr.Deref(job.Spec.PoolRef, v1alpha1.PoolReference{Name: v1alpha1.DefaultPoolName})
	return types.NamespacedName{Namespace: ptr.Deref(ref.Namespace, job.Namespace), Name: ref.Name}
}

// fromNamespaces says how a pool chooses the namespaces that it allows.
func fromNamespaces(pool *v1alpha1.RunnerPool) v1alpha1.FromNamespaces {
	if pool.Spec.AllowedNamespaces == nil {
		return v1alpha1.NamespacesFromSame
	}
	return ptr.Deref(pool.Spec.AllowedNamespaces.From, v1alpha1.NamespacesFromSame)
}

// namespaceSelector is what a pool chooses namespaces by where it does so by labels.
func namespaceSelector(pool *v1alpha1.RunnerPool) (labels.Selector, error) {
	selector, err := metav1.LabelSelectorAsSelector(pool.Spec.AllowedNamespaces.Selector)
	if err != nil {
		return nil, fmt.Errorf("spec.allowedNamespaces.selector: %w", err)
	}
	return selector, nil
}

// invalidNamespaces returns an error where nobody can say which namespaces a pool allows.
func invalidNamespaces(pool *v1alpha1.RunnerPool) error {
	if fromNamespaces(pool) != v1alpha1.NamespacesFromSelector {
		return nil
	}
	_, err := namespaceSelector(pool)
	return err
}

// allowsNamespace reports whether jobs of a namespace, which has the labels, may use the
// pool. Where nobody can say, they may not.
func allowsNamespace(pool *v1alpha1.RunnerPool, namespace string, labelled labels.Set) bool {
	if namespace == pool.Namespace {
		return true
	}
	switch fromNamespaces(pool) {
	case v1alpha1.NamespacesFromAll:
		return true
	case v1alpha1.NamespacesFromSelector:
		selector, err := namespaceSelector(pool)
		return err == nil && selector.Matches(labelled)
	}
	return false
}

// gatherAllowed reads what allowsNamespace needs and returns its answer.
func gatherAllowed(ctx context.Context, reader client.Reader, pool *v1alpha1.RunnerPool, namespace string) (bool, error) {
	if namespace == pool.Namespace || fromNamespaces(pool) != v1alpha1.NamespacesFromSelector {
		return allowsNamespace(pool, namespace, nil), nil
	}
	object, err := optional(ctx, reader, types.NamespacedName{Name: namespace}, &corev1.Namespace{})
	if err != nil || object == nil {
		return false, err
	}
	return allowsNamespace(pool, namespace, object.Labels), nil
}
