// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/pipeline"
)

// setCondition sets a condition of the Runner. Its transition time moves only when its
// status does.
func setCondition(status *v1alpha1.RunnerStatus, at time.Time, kind string, value bool, reason, message string) {
	state := metav1.ConditionFalse
	if value {
		state = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type:               kind,
		Status:             state,
		Reason:             reason,
		Message:            clip(message, maxMessage),
		ObservedGeneration: status.ObservedGeneration,
		LastTransitionTime: metav1.NewTime(at),
	})
}

// setReady says whether the process takes assignments.
func setReady(status *v1alpha1.RunnerStatus, at time.Time, ready bool, reason, message string) {
	setCondition(status, at, v1alpha1.ConditionReady, ready, reason, message)
}

// setHealth says how the pipeline stands.
func setHealth(status *v1alpha1.RunnerStatus, at time.Time, health pipeline.Health) {
	setCondition(status, at, v1alpha1.ConditionPipelineHealthy, health.Healthy, health.Reason, health.Message)
}

// reportedHealth is a health check as a report carries it.
func reportedHealth(health pipeline.Health) *v1alpha1.PipelineHealth {
	return &v1alpha1.PipelineHealth{
		Healthy: health.Healthy,
		Reason:  health.Reason,
		Message: clip(health.Message, maxMessage),
	}
}

// loadedModel is a model as the status shows it, once it is loaded.
func loadedModel(model *v1alpha1.AssignedModel, at time.Time, took time.Duration) *v1alpha1.LoadedModel {
	loadTime := metav1.NewMicroTime(at)
	return &v1alpha1.LoadedModel{
		Name:         model.Name,
		UID:          model.UID,
		Generation:   model.Generation,
		LoadTime:     &loadTime,
		LoadDuration: new(v1alpha1.Duration(took.String())),
	}
}

// usedDevice is a device as the status shows it.
func usedDevice(device ort.Device) *v1alpha1.RunnerDevice {
	return &v1alpha1.RunnerDevice{
		Type:    v1alpha1.DeviceType(device.Type),
		Message: clip(device.Message, maxDeviceMessage),
	}
}

// firstStatus is what a process says that has done nothing yet.
func firstStatus(config Config, bootID string, health pipeline.Health, at time.Time) v1alpha1.RunnerStatus {
	start := metav1.NewMicroTime(config.StartTime)
	status := v1alpha1.RunnerStatus{
		BootID:    bootID,
		StartTime: &start,
		Version:   clip(config.Version, maxVersion),
	}
	setReady(&status, at, true, v1alpha1.ReasonStarted, "the process takes assignments")
	setHealth(&status, at, health)
	return status
}
