// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// countsTime is how long a pool's status may be behind in its counts of jobs. They change
// with every job, twice, and nothing is decided by them.
const countsTime = time.Second

// lateCounts remembers since when the statuses of pools have been behind in their counts. One
// that is up to date is forgotten.
type lateCounts struct{ perPool[time.Time] }

// wait returns how long a write may wait that is needed for counts only; zero where it has
// waited for long enough. A pool is reconciled by one goroutine at a time.
func (l *lateCounts) wait(pool types.NamespacedName, now time.Time) time.Duration {
	since, behind := l.get(pool)
	if !behind {
		since = now
		l.set(pool, now)
	}
	return max(0, since.Add(countsTime).Sub(now))
}

// onlyCountsDiffer reports whether two statuses of a pool are the same but for their counts
// of jobs.
func onlyCountsDiffer(a, b v1alpha1.RunnerPoolStatus) bool {
	b.PendingJobs, b.BusyRunners = a.PendingJobs, a.BusyRunners
	return equality.Semantic.DeepEqual(a, b)
}
