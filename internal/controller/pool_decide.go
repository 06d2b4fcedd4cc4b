// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/schedule"
)

// poolView is everything that decisions about one pool follow from.
type poolView struct {
	pool *v1alpha1.RunnerPool
	// template of the pods; nil where invalid says why there is none.
	template *corev1.PodTemplateSpec
	invalid  error
	// invalidNamespaces says why nobody can tell which namespaces the pool allows; nil
	// where one can.
	invalidNamespaces error
	// invalidDuration says which duration of the spec can't be read, and is taken for left
	// out; nil where there is none.
	invalidDuration error
	// jobs that name the pool and have not ended, of whatever namespace.
	jobs []v1alpha1.GenerationJob
	// allowed says of the namespaces of the jobs whether they may use the pool.
	allowed map[string]bool
	// overtaken is since when jobs are overtaken by others.
	overtaken overtaken
	// gone are the assigned jobs that are certain not to exist any more, or to have ended.
	gone       map[types.UID]bool
	models     map[types.NamespacedName]*v1alpha1.Model
	priorities priorities
	runners    []v1alpha1.Runner
	pods       []corev1.Pod
	// nodes that the pods are on, by name; nil where they are unknown.
	nodes map[string]*corev1.Node
	now   time.Time
}

// poolPlan is what to do for a pool, in the order of its fields.
type poolPlan struct {
	// lost Runners are deleted: their jobs are free for another runner then.
	lost []*v1alpha1.Runner
	// silent pods are deleted, as their runners can't be relied on any more.
	silent []lostRunner
	// finished pods are deleted.
	finished []*corev1.Pod
	// mailboxes are the pods to make a Runner for.
	mailboxes []*corev1.Pod
	// changes are the Runners whose assignments change.
	changes []change
	// remove holds the pods to delete, create the ordinals to make runners for.
	remove []*corev1.Pod
	create []int
	// postponed is how many more runners to make when pods that are ending make room.
	postponed int
	// recheck is when time alone may change the plan; zero where it can't.
	recheck time.Time

	members []*member
	leaving []*member
	// pending is how many jobs wait for a runner after this.
	pending int
	// overtaken is what to remember of the waiting jobs; nil to leave it as it is.
	overtaken overtaken
}

// change is what becomes of the assignments of one Runner, in one write.
type change struct {
	member *member
	// released means that assignments were taken from it.
	released bool
	// bound are the jobs that are new to it, and loads what it takes to load the model of
	// each.
	bound []*v1alpha1.GenerationJob
	loads []load
}

// decidePool makes the plan: give up runners that are lost, free what is over, give waiting
// jobs to free runners, then fit the number of runners to what is left.
func decidePool(view *poolView) *poolPlan {
	d := newPoolDecision(view)
	d.giveUpSilent()
	d.giveUpUnready()
	d.giveUpStranded()
	d.release()
	if view.pool.DeletionTimestamp.IsZero() && view.invalid == nil {
		d.wait()
		d.retire()
		d.bind()
		d.prefetch()
		d.scale()
	}
	d.plan.members, d.plan.leaving = d.fleet.members, d.fleet.leaving
	return d.plan
}

// poolDecision builds a poolPlan.
type poolDecision struct {
	*poolView
	fleet    *fleet
	jobByUID map[types.UID]*v1alpha1.GenerationJob
	holdings map[types.UID][]holding
	// queue is the jobs that wait.
	queue []schedule.Job
	plan  *poolPlan
}

func newPoolDecision(view *poolView) *poolDecision {
	d := &poolDecision{
		poolView: view,
		fleet:    newFleet(view.pool, view.pods, view.runners, templateHash(view.template)),
		jobByUID: map[types.UID]*v1alpha1.GenerationJob{},
		holdings: map[types.UID][]holding{},
	}
	for i := range view.jobs {
		d.jobByUID[view.jobs[i].UID] = &view.jobs[i]
	}
	for i := range view.runners {
		for _, uid := range heldJobs(&view.runners[i]) {
			h, _ := holdingOf(&view.runners[i], types.UID(uid))
			d.holdings[types.UID(uid)] = append(d.holdings[types.UID(uid)], h)
		}
	}
	d.fleet.lookAtNodes(view.nodes)
	d.plan = &poolPlan{lost: d.fleet.lost, finished: d.fleet.finished}
	for _, m := range d.fleet.members {
		if m.runner == nil {
			d.plan.mailboxes = append(d.plan.mailboxes, m.pod)
		}
	}
	return d
}

func templateHash(template *corev1.PodTemplateSpec) string {
	if template == nil {
		return ""
	}
	return template.Annotations[v1alpha1.AnnotationTemplateHash]
}

// release takes away the assignments that are over.
func (d *poolDecision) release() {
	for _, m := range d.fleet.withRunner() {
		kept := slices.DeleteFunc(slices.Clone(m.assignments), func(a v1alpha1.Assignment) bool { return d.over(m, &a) })
		if len(kept) < len(m.assignments) {
			m.assignments = kept
			d.plan.changes = append(d.plan.changes, change{member: m, released: true})
		}
	}
}

// over reports whether an assignment has to go: its job is gone, suspended or has its end
// decided, the attempt has failed, or another runner has the job.
func (d *poolDecision) over(m *member, a *v1alpha1.Assignment) bool {
	job := d.jobByUID[a.UID]
	if job == nil {
		return d.gone[a.UID]
	}
	bound := boundHolding(job, d.holdings[a.UID])
	return !job.DeletionTimestamp.IsZero() || !followed(job, bound) || bound.runner.Name != m.runner.Name
}

// bind gives the jobs that wait to the runners that are free.
func (d *poolDecision) bind() {
	bindings, passed, waiting := schedule.Bind(d.queue, d.freeRunners(), d.rules())
	d.plan.overtaken = rememberOvertaken(d.queue, passed, d.now)
	for _, b := range bindings {
		at := slices.IndexFunc(d.fleet.members, func(m *member) bool { return m.pod.Name == b.Runner })
		d.give(d.fleet.members[at], d.jobByUID[b.Job])
	}
	d.queue = waiting
	d.plan.pending = len(waiting)
}

// wait queues the jobs that could begin now.
func (d *poolDecision) wait() {
	for i := range d.jobs {
		job := &d.jobs[i]
		model := d.models[modelKey(job)]
		priority, classKnown := d.priorities.of(job)
		if model == nil || !classKnown || !d.allowed[job.Namespace] || !hasStore(job, d.pool) || len(d.holdings[job.UID]) > 0 || !mayBegin(job, d.now) {
			d.recheckAtRetry(job)
			continue
		}
		d.queue = append(d.queue, schedule.Job{
			UID:            job.UID,
			Priority:       priority,
			CreationTime:   job.CreationTimestamp.Time,
			Model:          scheduledModel(model),
			OvertakenSince: d.overtaken.since(job.UID, job.CreationTimestamp.Time),
			DrawnBy:        drawnBy(&job.Status),
		})
	}
}

// drawnBy is the runner of an attempt that ended while its pictures were saved.
func drawnBy(status *v1alpha1.GenerationJobStatus) string {
	if status.Runner == nil || status.Progress < v1alpha1.ProgressSaving {
		return ""
	}
	return status.Runner.Name
}

// mayBegin reports whether a job that no runner holds is to be given to one. Where it has to
// wait as its last runner went away, its status says first until when.
func mayBegin(job *v1alpha1.GenerationJob, now time.Time) bool {
	seen := job.Status.Seed != nil
	backedOff := lossUnnoted(&job.Status) || job.Status.RetryTime != nil && now.Before(job.Status.RetryTime.Time)
	return seen && !backedOff && job.DeletionTimestamp.IsZero() && !suspended(job) && !endDecided(job) && !jobFinished(job)
}

// recheckAtRetry makes the plan end when the job's backoff does.
func (d *poolDecision) recheckAtRetry(job *v1alpha1.GenerationJob) {
	if retry := job.Status.RetryTime; retry != nil && d.now.Before(retry.Time) {
		d.recheckAt(retry.Time)
	}
}

func (d *poolDecision) recheckAt(t time.Time) {
	if !t.IsZero() && (d.plan.recheck.IsZero() || t.Before(d.plan.recheck)) {
		d.plan.recheck = t
	}
}

// freeRunners returns the members that can be given jobs: none of a suspended pool, and none
// that is to end.
func (d *poolDecision) freeRunners() []schedule.Runner {
	var free []schedule.Runner
	for _, m := range d.fleet.members {
		if m.ready() && !m.retiring && !poolSuspended(d.pool) {
			free = append(free, m.forJobs())
		}
	}
	return free
}

// poolSuspended reports whether a pool gives no jobs away.
func poolSuspended(pool *v1alpha1.RunnerPool) bool { return ptr.Deref(pool.Spec.Suspend, false) }

// rules are the pool's, with what it leaves out.
func (d *poolDecision) rules() schedule.Rules {
	return schedule.Rules{
		Slots:           d.slots(),
		MaxAffinityWait: durationOr(v1alpha1.DefaultMaxAffinityWait, d.pool.Spec.MaxAffinityWait),
		Now:             d.now,
	}
}

// durationOr is what a duration of the spec says, or else the fallback.
func durationOr(fallback time.Duration, d *v1alpha1.Duration) time.Duration {
	if d == nil {
		return fallback
	}
	parsed, err := d.Parse()
	if err != nil {
		return fallback
	}
	return parsed
}

// invalidDuration returns an error that names the first duration of the pool that can't be
// read.
func invalidDuration(pool *v1alpha1.RunnerPool) error {
	for _, field := range []struct {
		name     string
		duration *v1alpha1.Duration
	}{
		{"idleTimeout", pool.Spec.IdleTimeout},
		{"maxAffinityWait", pool.Spec.MaxAffinityWait},
		{"unreadyTimeout", pool.Spec.UnreadyTimeout},
	} {
		if field.duration == nil {
			continue
		}
		if _, err := field.duration.Parse(); err != nil {
			return fmt.Errorf("spec.%s: %w; it is taken for left out", field.name, err)
		}
	}
	return nil
}

// slots is how many jobs a runner may have now. More than one only hides the way between
// manager and runner, so a job is queued behind another only when no further runner is to
// be had or on its way.
func (d *poolDecision) slots() int {
	starting := slices.ContainsFunc(d.fleet.members, func(m *member) bool { return !m.ready() })
	if starting || len(d.fleet.members) < d.limits().Max {
		return 1
	}
	return int(ptr.Deref(d.pool.Spec.Slots, v1alpha1.DefaultSlots))
}

// give adds an assignment of the job to the runner.
func (d *poolDecision) give(m *member, job *v1alpha1.GenerationJob) {
	model := d.models[modelKey(job)]
	takes := loadFor(m.model(), scheduledModel(model))
	assignment := newAssignment(job, model, d.pool, job.Status.Attempt+1)
	assignment.BindTime = new(metav1.NewMicroTime(d.now))
	m.assignments = append(slices.Clone(m.assignments), assignment)
	at := slices.IndexFunc(d.plan.changes, func(c change) bool { return c.member == m })
	if at < 0 {
		at = len(d.plan.changes)
		d.plan.changes = append(d.plan.changes, change{member: m})
	}
	d.plan.changes[at].bound = append(d.plan.changes[at].bound, job)
	d.plan.changes[at].loads = append(d.plan.changes[at].loads, takes)
}

// scale fits the number of runners to the jobs.
func (d *poolDecision) scale() {
	scaling := schedule.Scale(d.limits(), d.scheduledMembers(), d.scheduledLeaving(), d.plan.pending, d.now)
	d.plan.create, d.plan.postponed = scaling.Create, scaling.Postponed
	for _, m := range d.fleet.members {
		if slices.Contains(scaling.Remove, m.ordinal) {
			d.plan.remove = append(d.plan.remove, m.pod)
		}
	}
	d.recheckAt(scaling.Recheck)
}

// scheduledMembers are the members as scale and retire decisions see them.
func (d *poolDecision) scheduledMembers() []schedule.Member {
	members := make([]schedule.Member, len(d.fleet.members))
	for i, m := range d.fleet.members {
		members[i] = m.scheduled()
	}
	return members
}

func (d *poolDecision) scheduledLeaving() []schedule.Leaving {
	leaving := make([]schedule.Leaving, len(d.fleet.leaving))
	for i, m := range d.fleet.leaving {
		leaving[i] = schedule.Leaving{Ordinal: m.ordinal, Stranded: m.stranded(d.now)}
	}
	return leaving
}

// limits are the pool's, with what it leaves out. A suspended pool may have no runner.
func (d *poolDecision) limits() schedule.Limits {
	if poolSuspended(d.pool) {
		return schedule.Limits{}
	}
	return schedule.Limits{
		Min:            int(ptr.Deref(d.pool.Spec.MinRunners, 0)),
		Max:            int(ptr.Deref(d.pool.Spec.MaxRunners, v1alpha1.DefaultMaxRunners)),
		IdleTimeout:    durationOr(v1alpha1.DefaultIdleTimeout, d.pool.Spec.IdleTimeout),
		MaxUnavailable: int(ptr.Deref(d.pool.Spec.MaxUnavailable, v1alpha1.DefaultMaxUnavailable)),
	}
}
