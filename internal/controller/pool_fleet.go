// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/schedule"
)

// fleet is the pods of a pool, each with its Runner.
type fleet struct {
	// members can have jobs, now or soon, in the order of their ordinals.
	members []*member
	// leaving are being removed, and may still have jobs.
	leaving []*member
	// finished pods will run no process again, and are not being removed yet.
	finished []*corev1.Pod
	// lost are Runners without a pod that could be theirs.
	lost []*v1alpha1.Runner
}

// member is one runner.
type member struct {
	ordinal int
	pod     *corev1.Pod
	// runner is nil until the pod's Runner was made.
	runner *v1alpha1.Runner
	// assignments is what the Runner's spec should have.
	assignments []v1alpha1.Assignment
	// prefetch is what the Runner's spec should have; nil is none.
	prefetch *v1alpha1.AssignedModel
	// outdated means that the pod was made from an older template.
	outdated bool
	// drained says why the pod's node is being emptied; empty where it is not.
	drained string
	// retiring means that the runner gets no more jobs and goes when it has none.
	retiring bool
}

// newFleet sorts out which pods and Runners belong together. Hash is the pool's present
// template hash; empty where the template is invalid, and then no pod counts as outdated.
func newFleet(pool *v1alpha1.RunnerPool, pods []corev1.Pod, runners []v1alpha1.Runner, hash string) *fleet {
	f := &fleet{}
	living := map[string]*member{}
	for i := range pods {
		pod := &pods[i]
		ordinal, ok := ordinalOf(pool.Name, pod.Name)
		switch {
		case !ok || !metav1.IsControlledBy(pod, pool):
			continue
		case podFinished(pod):
			if pod.DeletionTimestamp.IsZero() {
				f.finished = append(f.finished, pod)
			}
			f.leaving = append(f.leaving, &member{ordinal: ordinal, pod: pod})
			continue
		}
		m := &member{ordinal: ordinal, pod: pod, outdated: hash != "" && pod.Annotations[v1alpha1.AnnotationTemplateHash] != hash}
		living[pod.Name] = m
		if pod.DeletionTimestamp.IsZero() {
			f.members = append(f.members, m)
		} else {
			f.leaving = append(f.leaving, m)
		}
	}
	for i := range runners {
		runner := &runners[i]
		if m := living[runner.Name]; m != nil && m.pod.UID == runner.Spec.PodUID {
			m.runner, m.assignments, m.prefetch = runner, runner.Spec.Assignments, runner.Spec.Prefetch
		} else {
			f.lost = append(f.lost, runner)
		}
	}
	slices.SortFunc(f.members, func(a, b *member) int { return cmp.Compare(a.ordinal, b.ordinal) })
	return f
}

// podFinished reports whether a pod will run no process again.
func podFinished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

// withRunner returns the members that have a Runner, leaving ones included.
func (f *fleet) withRunner() []*member {
	return slices.DeleteFunc(slices.Concat(f.members, f.leaving), func(m *member) bool { return m.runner == nil })
}

// jobs is how many jobs the runner has, those included that it has not confirmed to have
// let go of.
func (m *member) jobs() int { return len(m.assignments) + len(m.unconfirmed()) }

// slotsTaken is how many jobs the runner has to work on: those assigned, and those taken away
// that it may be working on still. One that it has reported the end of and only has to let go
// of takes no slot, so that the next job can come in the write that takes that one away.
func (m *member) slotsTaken() int {
	n := len(m.assignments)
	for _, report := range m.unconfirmed() {
		if !reportEnded(&report) {
			n++
		}
	}
	return n
}

// unconfirmed are the reports on jobs that the runner is to have no more.
func (m *member) unconfirmed() []v1alpha1.AssignmentReport {
	if m.runner == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(m.runner.Status.Assignments), func(report v1alpha1.AssignmentReport) bool {
		return slices.ContainsFunc(m.assignments, func(a v1alpha1.Assignment) bool { return a.UID == report.UID })
	})
}

// reportEnded reports whether a runner says that nothing is left to do for an assignment.
func reportEnded(report *v1alpha1.AssignmentReport) bool {
	return report.Phase == v1alpha1.PhaseSucceeded || report.Phase == v1alpha1.PhaseFailed
}

// ready reports whether the runner's process takes jobs.
func (m *member) ready() bool {
	return m.obstacle() == ""
}

// obstacle says what keeps the runner from taking jobs; empty where nothing does.
func (m *member) obstacle() string {
	if waits := podObstacle(m.pod); waits != "" {
		return fmt.Sprintf("pod %q %s", m.pod.Name, waits)
	}
	switch {
	case m.runner == nil:
		return fmt.Sprintf("pod %q has no Runner yet", m.pod.Name)
	case !m.runner.DeletionTimestamp.IsZero():
		return fmt.Sprintf("Runner %q is being deleted", m.runner.Name)
	case m.drained != "":
		return fmt.Sprintf("runner %q takes no more jobs, as %s", m.runner.Name, m.drained)
	}
	switch ready := meta.FindStatusCondition(m.runner.Status.Conditions, v1alpha1.ConditionReady); {
	case ready == nil:
		return fmt.Sprintf("runner %q is starting", m.runner.Name)
	case ready.Status != metav1.ConditionTrue:
		return fmt.Sprintf("runner %q is not ready: %s: %s", m.runner.Name, ready.Reason, ready.Message)
	}
	return ""
}

// podObstacle says what the pod waits for, in the words of the scheduler and the kubelet;
// empty where it waits for nothing they would say. A ready runner needs no such words: a
// pod without status has none.
func podObstacle(pod *corev1.Pod) string {
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if waiting := status.State.Waiting; waiting != nil {
			return withDetail(fmt.Sprintf("waits in container %q: %s", status.Name, waiting.Reason), waiting.Message)
		}
	}
	for _, c := range pod.Status.Conditions {
		switch {
		case c.Status != corev1.ConditionFalse:
		case c.Type == corev1.PodScheduled:
			return withDetail("is not scheduled: "+c.Reason, c.Message)
		case c.Type == corev1.PodReady:
			return withDetail("is not ready: "+c.Reason, c.Message)
		}
	}
	return ""
}

// unschedulable reports whether the scheduler finds no node for the runner's pod.
func (m *member) unschedulable() bool {
	return slices.ContainsFunc(m.pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
	})
}

func withDetail(text, detail string) string {
	if detail == "" {
		return text
	}
	return text + ": " + detail
}

// model is what the runner will have loaded when it comes to its next job.
func (m *member) model() schedule.Model {
	if n := len(m.assignments); n > 0 {
		last := m.assignments[n-1].Model
		return schedule.Model{UID: last.UID, Generation: last.Generation}
	}
	if loaded := m.runner.Status.Model; loaded != nil {
		return schedule.Model{UID: loaded.UID, Generation: loaded.Generation}
	}
	return schedule.Model{}
}

// forJobs is the member as the decisions on jobs see it.
func (m *member) forJobs() schedule.Runner {
	r := schedule.Runner{Name: m.pod.Name, Model: m.model(), Jobs: m.slotsTaken()}
	if m.prefetch != nil {
		r.Prefetched = schedule.Model{UID: m.prefetch.UID, Generation: m.prefetch.Generation}
	}
	return r
}

// scheduledModel is a model as the scheduler sees it.
func scheduledModel(model *v1alpha1.Model) schedule.Model {
	return schedule.Model{UID: model.UID, Generation: model.Generation}
}

// idleSince is when the runner last had a job, else when its pod was made.
func (m *member) idleSince() time.Time {
	if m.runner != nil {
		if since, err := time.Parse(time.RFC3339, m.runner.Annotations[v1alpha1.AnnotationIdleSince]); err == nil {
			return since
		}
	}
	return m.pod.CreationTimestamp.Time
}

// scheduled is the member as the scale decision sees it.
func (m *member) scheduled() schedule.Member {
	return schedule.Member{
		Ordinal:   m.ordinal,
		Jobs:      m.jobs(),
		Starting:  !m.ready(),
		Outdated:  m.outdated,
		Retiring:  m.retiring,
		IdleSince: m.idleSince(),
	}
}
