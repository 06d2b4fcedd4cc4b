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
	runnersByJob       = "runnersByJob"
	runnersByPool      = "runnersByPool"
)

// addIndexes teaches the cache to look jobs up by what they wait for, and Runners by what
// they hold.
func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	job, runner := &v1alpha1.GenerationJob{}, &v1alpha1.Runner{}
	for _, index := range []struct {
		object client.Object
		name   string
		values client.IndexerFunc
	}{
		{job, activeJobsByModel, ofActiveJob(func(job *v1alpha1.GenerationJob) string { return job.Spec.ModelRef.Name })},
		{job, activeJobsByPool, ofActiveJob(poolName)},
		{job, activeJobsByRunner, ofActiveJob(runnerName)},
		{runner, runnersByJob, func(o client.Object) []string { return heldJobs(o.(*v1alpha1.Runner)) }},
		{runner, runnersByPool, func(o client.Object) []string { return []string{o.(*v1alpha1.Runner).Spec.PoolName} }},
	} {
		if err := indexer.IndexField(ctx, index.object, index.name, index.values); err != nil {
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
