// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// countsTime is how long a pool's status may be behind in its counts of jobs. They change
// with every job, twice, and nothing is decided by them.
const countsTime = time.Second

// lateCounts remembers since when the statuses of pools have been behind in their counts.
// The zero value is empty.
type lateCounts struct {
	mutex sync.Mutex
	since map[types.NamespacedName]time.Time
}

// wait returns how long a write may wait that is needed for counts only; zero where it has
// waited for long enough.
func (l *lateCounts) wait(pool types.NamespacedName, now time.Time) time.Duration {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.since == nil {
		l.since = map[types.NamespacedName]time.Time{}
	}
	since, behind := l.since[pool]
	if !behind {
		since = now
		l.since[pool] = now
	}
	return max(0, since.Add(countsTime).Sub(now))
}

// forget notes that the pool's status is up to date, or that there is no pool.
func (l *lateCounts) forget(pool types.NamespacedName) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	delete(l.since, pool)
}

// onlyCountsDiffer reports whether two statuses of a pool are the same but for their counts
// of jobs.
func onlyCountsDiffer(a, b v1alpha1.RunnerPoolStatus) bool {
	b.PendingJobs, b.BusyRunners = a.PendingJobs, a.BusyRunners
	return equality.Semantic.DeepEqual(a, b)
}
