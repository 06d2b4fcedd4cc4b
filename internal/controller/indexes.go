// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// The indexes of the cache. Those of jobs leave out the jobs that have ended, so that no
// lookup grows with history.
const (
	activeJobsByModel  = "activeJobsByModel"
	activeJobsByPool   = "activeJobsByPool"
	activeJobsByRunner = "activeJobsByRunner"
	activeJobsByClass  = "activeJobsByClass"
	activeJobsByUID    = "activeJobsByUID"
	modelsByUID        = "modelsByUID"
	podsByNode         = "podsByNode"
	runnersByJob       = "runnersByJob"
	runnersByModel     = "runnersByModel"
	runnersByPool      = "runnersByPool"
)

// index is a way to look objects of one kind up.
type index struct {
	object client.Object
	name   string
	values client.IndexerFunc
}

// indexes looks jobs up by what they wait for, and Runners by what they hold. A job may be
// in another namespace than its pool, so those go by the names of both.
var indexes = []index{
	{&v1alpha1.GenerationJob{}, activeJobsByModel, ofActiveJob(modelName)},
	{&v1alpha1.GenerationJob{}, activeJobsByPool, ofActiveJob(func(job *v1alpha1.GenerationJob) string { return poolKey(job).String() })},
	{&v1alpha1.GenerationJob{}, activeJobsByRunner, ofActiveJob(runnerOf)},
	{&v1alpha1.GenerationJob{}, activeJobsByClass, ofActiveJob(className)},
	{&v1alpha1.GenerationJob{}, activeJobsByUID, ofActiveJob(func(job *v1alpha1.GenerationJob) string { return string(job.UID) })},
	{&v1alpha1.Model{}, modelsByUID, func(o client.Object) []string { return []string{string(o.GetUID())} }},
	{&corev1.Pod{}, podsByNode, func(o client.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} }},
	{&v1alpha1.Runner{}, runnersByJob, func(o client.Object) []string { return heldJobs(o.(*v1alpha1.Runner)) }},
	{&v1alpha1.Runner{}, runnersByModel, func(o client.Object) []string { return modelsOf(o.(*v1alpha1.Runner)) }},
	{&v1alpha1.Runner{}, runnersByPool, func(o client.Object) []string { return []string{o.(*v1alpha1.Runner).Spec.PoolName} }},
}

// addIndexes teaches the cache its indexes.
func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, i := range indexes {
		if err := indexer.IndexField(ctx, i.object, i.name, i.values); err != nil {
			return err
		}
	}
	return nil
}

// ofActiveJob indexes jobs that have not ended by a value, if it is not empty.
func ofActiveJob(value func(*v1alpha1.GenerationJob) string) client.IndexerFunc {
	return func(o client.Object) []string {
		job := o.(*v1alpha1.GenerationJob)
		if v := value(job); v != "" && !jobFinished(job) {
			return []string{v}
		}
		return nil
	}
}

func modelName(job *v1alpha1.GenerationJob) string { return job.Spec.ModelRef.Name }

// modelKey is where the model of a job is, if there is one.
func modelKey(job *v1alpha1.GenerationJob) types.NamespacedName {
	return types.NamespacedName{Namespace: job.Namespace, Name: job.Spec.ModelRef.Name}
}

// runnerOf is where the runner is that has, or had, the job; empty where there was none yet.
func runnerOf(job *v1alpha1.GenerationJob) string {
	if job.Status.Runner == nil {
		return ""
	}
	return types.NamespacedName{Namespace: poolKey(job).Namespace, Name: job.Status.Runner.Name}.String()
}

// modelsOf returns the uids of the models that a runner has loaded or is to load.
func modelsOf(runner *v1alpha1.Runner) []string {
	var uids []string
	if loaded := runner.Status.Model; loaded != nil {
		uids = append(uids, string(loaded.UID))
	}
	for _, a := range runner.Spec.Assignments {
		if uid := string(a.Model.UID); !slices.Contains(uids, uid) {
			uids = append(uids, uid)
		}
	}
	return uids
}

// heldJobs returns the uids of the jobs of which a Runner holds an assignment or a report.
func heldJobs(runner *v1alpha1.Runner) []string {
	var uids []string
	seen := map[string]bool{}
	add := func(uid string) {
		if !seen[uid] {
			seen[uid] = true
			uids = append(uids, uid)
		}
	}
	for _, a := range runner.Spec.Assignments {
		add(string(a.UID))
	}
	for _, r := range runner.Status.Assignments {
		add(string(r.UID))
	}
	return uids
}
