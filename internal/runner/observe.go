// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// observe takes the Runner as the API server shows it, nil for none. Nothing is written
// until everything is decided, so that no write speaks of what is out of date already.
func (a *Agent) observe(runner *v1alpha1.Runner) {
	a.sync()
	if runner != nil && a.runner != nil && !newer(runner.ResourceVersion, a.runner.ResourceVersion) {
		return
	}
	a.ledger.hold()
	a.runner = runner
	if runner == nil || runner.Spec.PodUID != a.config.PodUID {
		a.leave()
		return
	}
	if runner.UID != a.adopted {
		a.adopt(runner)
	}
	a.act()
	a.ledger.attach(runner)
}

// sync notes the moment from which the process could take assignments.
func (a *Agent) sync() {
	if a.synced {
		return
	}
	a.synced = true
	ready := a.clock.Now()
	took := ready.Sub(a.config.StartTime)
	a.metrics.startToReady.Set(took.Seconds())
	a.log.Info("Ready to take assignments", "startToReady", took.String())
	a.ledger.edit(soon, func(s *v1alpha1.RunnerStatus) {
		readyTime := metav1.NewMicroTime(ready)
		s.ReadyTime = &readyTime
	})
}

// leave stops what a Runner that is not there, or not ours, can't have asked for.
func (a *Agent) leave() {
	a.ledger.detach()
	a.ready.Store(false)
	a.adopted = ""
	if a.runner == nil {
		a.log.Info("Waiting: there is no Runner of this name")
	} else {
		a.log.Info("Waiting: the Runner of this name is another pod's", "podUID", a.runner.Spec.PodUID, "ownPodUID", a.config.PodUID)
	}
	a.act()
}

// adopt takes over the reports of a Runner that is seen for the first time. What an
// earlier process left unfinished is among them. Work for an earlier Runner of the
// same name is no concern of this one.
func (a *Agent) adopt(runner *v1alpha1.Runner) {
	a.log.Info("Runner found", "uid", runner.UID, "pool", runner.Spec.PoolName)
	a.adopted = runner.UID
	a.ledger.edit(now, func(s *v1alpha1.RunnerStatus) {
		s.Assignments = runner.DeepCopy().Status.Assignments
	})
	if a.current != nil {
		a.cancel(errRemoved)
	}
}
