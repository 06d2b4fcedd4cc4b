// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// +kubebuilder:rbac:groups=generation.atelier.dev,resources=models/status,verbs=patch

// ModelReconciler writes the status of Models.
type ModelReconciler struct {
	client.Client
	Clock clock.PassiveClock
}

// Reconcile brings one model's status up to date in at most one write.
func (r *ModelReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var model v1alpha1.Model
	if err := r.Get(ctx, req.NamespacedName, &model); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	var runners v1alpha1.RunnerList
	if err := r.List(ctx, &runners, client.MatchingFields{runnersByModel: string(model.UID)}); err != nil {
		return ctrl.Result{}, err
	}
	status := decideModel(&model, runners.Items, r.Clock.Now())
	if equality.Semantic.DeepEqual(model.Status, status) {
		return ctrl.Result{}, nil
	}
	before := model.DeepCopy()
	model.Status = status
	return ctrl.Result{}, client.IgnoreNotFound(r.Status().Patch(ctx, &model, lockedPatch(before)))
}
