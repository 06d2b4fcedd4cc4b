// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/internal/schedule"
)

// overtakes remembers, for each pool, since when the waiting jobs are overtaken by others
// whose model is loaded. It is kept by this process alone: writing it down would cost a
// write for each job that waits.
type overtakes struct{ perPool[overtaken] }

// overtaken is since when jobs are overtaken, by uid. Nil means that nothing is known, as
// after a start of the manager: then a job may have been overtaken as long as it exists,
// so that no restart makes anyone wait longer than the bound.
type overtaken map[types.UID]time.Time

// since returns since when a job of that age is overtaken; zero where it is not.
func (o overtaken) since(job types.UID, created time.Time) time.Time {
	if o == nil {
		return created
	}
	return o[job]
}

// rememberOvertaken is what to remember of the jobs in a queue of which some were overtaken
// now. Those that got a runner are kept too, until it is certain that they have it.
func rememberOvertaken(queue []schedule.Job, passed []types.UID, now time.Time) overtaken {
	remembered := make(overtaken, len(passed))
	for _, uid := range passed {
		remembered[uid] = now
	}
	for _, job := range queue {
		if !job.OvertakenSince.IsZero() {
			remembered[job.UID] = job.OvertakenSince
		}
	}
	return remembered
}

// of returns what is known of a pool's jobs.
func (o *overtakes) of(pool types.NamespacedName) overtaken {
	jobs, _ := o.get(pool)
	return jobs
}

// remember replaces what is known of a pool's jobs, if anything is.
func (o *overtakes) remember(pool types.NamespacedName, jobs overtaken) {
	if jobs != nil {
		o.set(pool, jobs)
	}
}
