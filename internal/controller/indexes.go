// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

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
	runnersByJob       = "runnersByJob"
	runnersByPool      = "runnersByPool"
)

// index is a way to look objects of one kind up.
type index struct {
	object client.Object
	name   string
	values client.IndexerFunc
}

// indexes looks jobs up by what they wait for, and Runners by what they hold.
var indexes = []index{
	{&v1alpha1.GenerationJob{}, activeJobsByModel, ofActiveJob(modelName)},
	{&v1alpha1.GenerationJob{}, activeJobsByPool, ofActiveJob(poolName)},
	{&v1alpha1.GenerationJob{}, activeJobsByRunner, ofActiveJob(runnerName)},
	{&v1alpha1.GenerationJob{}, activeJobsByClass, ofActiveJob(className)},
	{&v1alpha1.GenerationJob{}, activeJobsByUID, ofActiveJob(func(job *v1alpha1.GenerationJob) string { return string(job.UID) })},
	{&v1alpha1.Runner{}, runnersByJob, func(o client.Object) []string { return heldJobs(o.(*v1alpha1.Runner)) }},
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

// runnerName is the runner that has, or had, the job; empty where there was none yet.
func runnerName(job *v1alpha1.GenerationJob) string {
	if job.Status.Runner == nil {
		return ""
	}
	return job.Status.Runner.Name
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
