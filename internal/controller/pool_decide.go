// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/schedule"
)

// defaultIdleTimeout applies where a pool has none.
const defaultIdleTimeout = 10 * time.Minute

// poolView is everything that decisions about one pool follow from.
type poolView struct {
	pool *v1alpha1.RunnerPool
	// template of the pods; nil where invalid says why there is none.
	template *corev1.PodTemplateSpec
	invalid  error
	// jobs of the pool that have not ended.
	jobs []v1alpha1.GenerationJob
	// gone are the assigned jobs that are certain not to exist any more, or to have ended.
	gone       map[types.UID]bool
	models     map[string]*v1alpha1.Model
	priorities priorities
	runners    []v1alpha1.Runner
	pods       []corev1.Pod
	now        time.Time
}

// poolPlan is what to do for a pool, in the order of its fields.
type poolPlan struct {
	// lost Runners are deleted: their jobs are free for another runner then.
	lost []*v1alpha1.Runner
	// finished pods are deleted, and silent ones, whose runners owe an answer.
	finished []*corev1.Pod
	silent   []*corev1.Pod
	// mailboxes are the pods to make a Runner for.
	mailboxes []*corev1.Pod
	// changes are the Runners whose assignments change.
	changes []change
	// remove holds the pods to delete, create the ordinals to make runners for.
	remove []*corev1.Pod
	create []int
	// recheck is when time alone may change the plan; zero where it can't.
	recheck time.Time

	members []*member
	// pending is how many jobs wait for a runner after this.
	pending int
}

// change is what becomes of the assignments of one Runner, in one write.
type change struct {
	member *member
	// released means that assignments were taken from it.
	released bool
	// bound are the jobs that are new to it.
	bound []*v1alpha1.GenerationJob
}

// decidePool makes the plan: free what is over, give waiting jobs to free runners, then
// fit the number of runners to what is left.
func decidePool(view *poolView) *poolPlan {
	d := newPoolDecision(view)
	d.replaceSilent()
	d.release()
	if view.pool.DeletionTimestamp.IsZero() && view.invalid == nil {
		d.bind()
		d.scale()
	}
	d.plan.members = d.fleet.members
	return d.plan
}

// poolDecision builds a poolPlan.
type poolDecision struct {
	*poolView
	fleet    *fleet
	jobByUID map[types.UID]*v1alpha1.GenerationJob
	holdings map[types.UID][]holding
	plan     *poolPlan
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
	waiting, queue := d.waiting()
	bindings := schedule.Bind(queue, d.freeRunners(), d.slots())
	for _, b := range bindings {
		at := slices.IndexFunc(d.fleet.members, func(m *member) bool { return m.pod.Name == b.Runner })
		d.give(d.fleet.members[at], waiting[b.Job])
	}
	d.plan.pending = len(queue) - len(bindings)
}

// waiting returns the jobs that could begin now, by uid and as the scheduler sees them.
func (d *poolDecision) waiting() (map[types.UID]*v1alpha1.GenerationJob, []schedule.Job) {
	byUID, queue := map[types.UID]*v1alpha1.GenerationJob{}, []schedule.Job{}
	for i := range d.jobs {
		job := &d.jobs[i]
		model := d.models[job.Spec.ModelRef.Name]
		priority, classKnown := d.priorities.of(job)
		if model == nil || !classKnown || len(d.holdings[job.UID]) > 0 || !mayBegin(job, d.now) {
			d.recheckAtRetry(job)
			continue
		}
		byUID[job.UID] = job
		queue = append(queue, schedule.Job{
			UID:          job.UID,
			Priority:     priority,
			CreationTime: job.CreationTimestamp.Time,
			Model:        schedule.Model{UID: model.UID, Generation: model.Generation},
		})
	}
	return byUID, queue
}

// mayBegin reports whether a job that no runner holds is to be given to one.
func mayBegin(job *v1alpha1.GenerationJob, now time.Time) bool {
	seen := job.Status.Seed != nil
	backedOff := job.Status.RetryTime != nil && now.Before(job.Status.RetryTime.Time)
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

// freeRunners returns the members that can be given jobs. An outdated one is to end, so it
// gets no more.
func (d *poolDecision) freeRunners() []schedule.Runner {
	var free []schedule.Runner
	for _, m := range d.fleet.members {
		if m.ready() && !m.outdated {
			free = append(free, schedule.Runner{Name: m.pod.Name, Model: m.model(), Jobs: m.jobs()})
		}
	}
	return free
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
	model := d.models[job.Spec.ModelRef.Name]
	assignment := newAssignment(job, model, job.Status.Attempt+1)
	assignment.BindTime = new(metav1.NewMicroTime(d.now))
	m.assignments = append(slices.Clone(m.assignments), assignment)
	at := slices.IndexFunc(d.plan.changes, func(c change) bool { return c.member == m })
	if at < 0 {
		at = len(d.plan.changes)
		d.plan.changes = append(d.plan.changes, change{member: m})
	}
	d.plan.changes[at].bound = append(d.plan.changes[at].bound, job)
}

// scale fits the number of runners to the jobs.
func (d *poolDecision) scale() {
	members := make([]schedule.Member, len(d.fleet.members))
	for i, m := range d.fleet.members {
		members[i] = m.scheduled()
	}
	leaving := make([]int, len(d.fleet.leaving))
	for i, m := range d.fleet.leaving {
		leaving[i] = m.ordinal
	}
	scaling := schedule.Scale(d.limits(), members, leaving, d.plan.pending, d.now)
	d.plan.create = scaling.Create
	for _, m := range d.fleet.members {
		if slices.Contains(scaling.Remove, m.ordinal) {
			d.plan.remove = append(d.plan.remove, m.pod)
		}
	}
	d.recheckAt(scaling.Recheck)
}

// limits are the pool's, with what it leaves out.
func (d *poolDecision) limits() schedule.Limits {
	limits := schedule.Limits{
		Min:         int(ptr.Deref(d.pool.Spec.MinRunners, 0)),
		Max:         int(ptr.Deref(d.pool.Spec.MaxRunners, v1alpha1.DefaultMaxRunners)),
		IdleTimeout: defaultIdleTimeout,
	}
	if timeout := d.pool.Spec.IdleTimeout; timeout != nil {
		limits.IdleTimeout = timeout.Duration
	}
	return limits
}
