// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// observe takes the Runner as the API server shows it, nil for none.
func (a *Agent) observe(runner *v1alpha1.Runner) {
	if a.watching && !a.changed(runner) {
		return
	}
	a.noteWatching()
	a.runner = runner
	if runner == nil || runner.Spec.PodUID != a.config.PodUID || a.isSupplanted() {
		a.leave()
		return
	}
	if runner.UID != a.adopted {
		a.adopt(runner)
	}
	a.act()
	a.ledger.attach(runner)
}

// changed reports whether a Runner is news. The watch and the writer both read it, and
// not in the same order.
func (a *Agent) changed(runner *v1alpha1.Runner) bool {
	if runner == nil || a.runner == nil {
		return runner != a.runner
	}
	return newer(runner.ResourceVersion, a.runner.ResourceVersion)
}

// noteWatching notes the moment from which the process could take assignments.
func (a *Agent) noteWatching() {
	if a.watching {
		return
	}
	a.watching = true
	ready := a.clock.Now()
	took := ready.Sub(a.config.StartTime)
	a.metrics.startToReady.Set(took.Seconds())
	a.log.Info("Ready to take assignments", "startToReady", took.String())
	a.ledger.edit(soon, func(s *v1alpha1.RunnerStatus) {
		readyTime := metav1.NewMicroTime(ready)
		s.ReadyTime = &readyTime
	})
}

// isSupplanted reports whether the status, after this process wrote it, is another's.
func (a *Agent) isSupplanted() bool {
	boot := a.runner.Status.BootID
	if a.ready.Load() && boot != "" && boot != a.bootID {
		a.supplanted = true
	}
	return a.supplanted
}

// leave stops everything, as there is no Runner that could have asked for it.
func (a *Agent) leave() {
	a.ledger.detach()
	a.ready.Store(false)
	a.adopted = ""
	switch {
	case a.supplanted:
		a.terminate(ErrSupplanted, ErrSupplanted.Error())
	case a.runner == nil:
		a.log.Info("Waiting: there is no Runner of this name")
	default:
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
