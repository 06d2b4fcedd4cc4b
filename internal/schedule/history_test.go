// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// kind is what happens in an event.
type kind int

const (
	jobComes kind = iota
	jobEnds
	runnerStarts
	runnerStalls
	runnerIsLost
	nodeIsCordoned
	podsAreGone
	podsAreStranded
	templateChanges
	managerRestarts
	kinds
)

func (k kind) String() string {
	return []string{"a job comes", "a job ends", "a runner starts", "a runner stalls", "a runner is lost",
		"a node is cordoned", "pods are gone", "pods are stranded", "the template changes", "the manager restarts"}[k]
}

// event is one thing that happens to a pool and that nobody decides.
type event struct {
	kind kind
	// after is the time that passes before.
	after time.Duration
	// which picks a runner or a model, modulo how many there are.
	which int
}

// course is a pool and what happens to it.
type course struct {
	limits  Limits
	slots   int
	maxWait time.Duration
	events  []event
}

func (c course) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%+v, %d slots, overtaking for %v", c.limits, c.slots, c.maxWait)
	for _, e := range c.events {
		fmt.Fprintf(&b, "\n%6v %v (%d)", e.after, e.kind, e.which)
	}
	return b.String()
}

// TestHistories plays random courses of events and checks the promises to a pool at each
// of them: at most slots jobs on a runner, no job on two, never above the maximum, no busy
// runner removed, nobody overtaken for longer than allowed, no more runners out of service
// for a new template than allowed, and every job runs in the end.
func TestHistories(t *testing.T) {
	events := 0
	for seed := range uint64(500) {
		c := drawCourse(seed)
		events += len(c.events)
		if err := play(c); err != nil {
			c = shrink(c)
			t.Fatalf("seed %d: %v\nthe shortest course to it: %v\n%v", seed, err, play(c), c)
		}
	}
	t.Logf("%d events", events)
}

func drawCourse(seed uint64) course {
	random := rand.New(rand.NewPCG(seed, 1))
	high := 1 + random.IntN(5)
	c := course{
		limits: Limits{
			Min: random.IntN(high + 1), Max: high, MaxUnavailable: 1 + random.IntN(2),
			IdleTimeout: time.Duration(random.IntN(60)) * time.Second,
		},
		slots:   1 + random.IntN(3),
		maxWait: time.Duration(random.IntN(4)) * 20 * time.Second,
	}
	for range 120 {
		// Jobs come and go more often than all else happens.
		k := kind(random.IntN(int(kinds) + 8))
		if k >= kinds {
			k = []kind{jobComes, jobEnds, runnerStarts}[random.IntN(3)]
		}
		c.events = append(c.events, event{kind: k, after: time.Duration(random.IntN(20)) * time.Second, which: random.IntN(60)})
	}
	return c
}

// shrink leaves out of a course that breaks a promise what it breaks it without.
func shrink(c course) course {
	for width := len(c.events) / 2; width > 0; width /= 2 {
		for at := 0; at+width <= len(c.events); {
			shorter := c
			shorter.events = slices.Concat(c.events[:at], c.events[at+width:])
			if play(shorter) != nil {
				c = shorter
			} else {
				at += width
			}
		}
	}
	return c
}

// history is a pool of which the decisions of this package are the only scheduler.
type history struct {
	course
	now     time.Time
	jobs    int
	waiting []*waiter
	runners map[int]*simulated
	leaving []Leaving
}

// waiter is a job that waits for a runner.
type waiter struct {
	Job
	// first and last are when it was first and last overtaken in this wait.
	first, last time.Time
}

type simulated struct {
	Member
	model Model
	jobs  []Job
}

// play lets a course happen and returns the first promise that is broken.
func play(c course) error {
	h := &history{course: c, now: epoch, runners: map[int]*simulated{}}
	for i, e := range c.events {
		h.now = h.now.Add(e.after)
		h.happen(e)
		if err := h.decide(); err != nil {
			return fmt.Errorf("event %d (%v): %w", i, e.kind, err)
		}
	}
	return h.drain()
}

func (h *history) happen(e event) {
	r := h.pick(e.which)
	switch {
	case e.kind == jobComes:
		h.jobs++
		job := queued(types.UID(fmt.Sprintf("job-%04d", h.jobs)), 0, []Model{cat, dog, {UID: "cow"}}[e.which%3])
		job.CreationTime, job.Priority = h.now, int32(e.which/3%5/4)
		h.wait(job)
	case e.kind == podsAreGone:
		h.leaving = nil
	case e.kind == podsAreStranded:
		for i := range h.leaving {
			h.leaving[i].Stranded = true
		}
	case e.kind == templateChanges:
		for _, r := range h.runners {
			r.Outdated = true
		}
	case e.kind == managerRestarts:
		// It does not know who was overtaken, and takes it that all were, always.
		for _, w := range h.waiting {
			w.OvertakenSince = w.CreationTime
		}
	case r == nil:
	case e.kind == jobEnds:
		h.finish(r)
	case e.kind == runnerStarts:
		r.Starting = false
	case e.kind == runnerStalls:
		r.Starting = true
	case e.kind == nodeIsCordoned:
		r.Retiring = true
	case e.kind == runnerIsLost:
		for _, job := range r.jobs {
			h.wait(job)
		}
		delete(h.runners, r.Ordinal)
	}
}

func (h *history) wait(job Job) {
	job.OvertakenSince = time.Time{}
	h.waiting = append(h.waiting, &waiter{Job: job})
}

func (h *history) pick(which int) *simulated {
	ordinals := h.ordinals()
	if len(ordinals) == 0 {
		return nil
	}
	return h.runners[ordinals[which%len(ordinals)]]
}

func (h *history) ordinals() []int {
	ordinals := make([]int, 0, len(h.runners))
	for ordinal := range h.runners {
		ordinals = append(ordinals, ordinal)
	}
	slices.Sort(ordinals)
	return ordinals
}

// finish ends the first job of a runner.
func (h *history) finish(r *simulated) {
	if len(r.jobs) == 0 {
		return
	}
	r.model, r.jobs = r.jobs[0].Model, r.jobs[1:]
	r.IdleSince = h.now
}

// decide asks Retire, Bind and Scale, checks their answers, and does as they say.
func (h *history) decide() error {
	retiring := Retire(h.limits, h.members(), h.leaving, len(h.waiting))
	if err := h.checkRetiring(retiring); err != nil {
		return err
	}
	// Whose turn it is to be replaced is decided anew each time.
	members := h.members()
	for i := range members {
		members[i].Retiring = members[i].Retiring || slices.Contains(retiring, members[i].Ordinal)
	}
	if err := h.bind(members); err != nil {
		return err
	}
	for i := range members {
		members[i].Jobs = len(h.runners[members[i].Ordinal].jobs)
	}
	return h.scale(members)
}

// checkRetiring: for a new template no more than the allowed number of the runners that are
// wanted is out of service.
func (h *history) checkRetiring(retiring []int) error {
	taken, inService, jobs := 0, 0, len(h.waiting)
	for ordinal, r := range h.runners {
		jobs += len(r.jobs)
		switch {
		case r.Starting || r.Retiring:
		case slices.Contains(retiring, ordinal):
			taken++
		default:
			inService++
		}
	}
	wanted := min(max(jobs, h.limits.Min), h.limits.Max)
	if taken > 0 && inService < wanted-h.limits.MaxUnavailable {
		return fmt.Errorf("%d runners are taken out of service, and only %d of %d are left", taken, inService, wanted)
	}
	return nil
}

func (h *history) bind(members []Member) error {
	var fleet []Runner
	for _, m := range members {
		if r := h.runners[m.Ordinal]; !m.Starting && !m.Retiring {
			fleet = append(fleet, Runner{Name: fmt.Sprint(m.Ordinal), Model: r.nextModel(), Jobs: len(r.jobs)})
		}
	}
	queue := make([]Job, len(h.waiting))
	for i, w := range h.waiting {
		queue[i] = w.Job
	}
	rules := Rules{Slots: h.slots, MaxAffinityWait: h.maxWait, Now: h.now}
	if err := checkBind(queue, fleet, rules); err != nil {
		return err
	}
	bindings, passed, _ := Bind(queue, fleet, rules)
	if err := h.overtake(passed); err != nil {
		return err
	}
	for _, b := range bindings {
		at := slices.IndexFunc(h.waiting, func(w *waiter) bool { return w.UID == b.Job })
		for ordinal, r := range h.runners {
			if fmt.Sprint(ordinal) == b.Runner {
				r.jobs = append(r.jobs, h.waiting[at].Job)
			}
		}
		h.waiting = slices.Delete(h.waiting, at, at+1)
	}
	return nil
}

// overtake remembers who was overtaken, and checks for how long.
func (h *history) overtake(passed []types.UID) error {
	for _, w := range h.waiting {
		if !slices.Contains(passed, w.UID) {
			continue
		}
		if w.OvertakenSince.IsZero() {
			w.OvertakenSince = h.now
		}
		if w.first.IsZero() {
			w.first = h.now
		}
		w.last = h.now
		if took := w.last.Sub(w.first); took >= h.maxWait {
			return fmt.Errorf("%s was overtaken for %v", w.UID, took)
		}
	}
	return nil
}

func (r *simulated) nextModel() Model {
	if n := len(r.jobs); n > 0 {
		return r.jobs[n-1].Model
	}
	return r.model
}

func (h *history) scale(members []Member) error {
	scaling := Scale(h.limits, members, h.leaving, len(h.waiting), h.now)
	for _, ordinal := range scaling.Remove {
		at := slices.IndexFunc(members, func(m Member) bool { return m.Ordinal == ordinal })
		switch {
		case at < 0:
			return fmt.Errorf("runner %d is removed but does not exist", ordinal)
		case members[at].Jobs > 0:
			return fmt.Errorf("runner %d is removed but has a job", ordinal)
		case members[at].Starting && !members[at].Retiring && len(h.waiting) > 0:
			return fmt.Errorf("runner %d is removed while it starts and jobs wait", ordinal)
		}
		delete(h.runners, ordinal)
		h.leaving = append(h.leaving, Leaving{Ordinal: ordinal})
	}
	for _, ordinal := range scaling.Create {
		if h.runners[ordinal] != nil || slices.ContainsFunc(h.leaving, func(l Leaving) bool { return l.Ordinal == ordinal }) {
			return fmt.Errorf("runner %d is created but exists", ordinal)
		}
		h.runners[ordinal] = &simulated{Member: Member{Ordinal: ordinal, Starting: true, IdleSince: h.now}}
	}
	if n := len(h.runners) + CountLeaving(h.leaving); n > h.limits.Max {
		return fmt.Errorf("there are %d runners, above the maximum %d", n, h.limits.Max)
	}
	return nil
}

func (h *history) members() []Member {
	members := make([]Member, 0, len(h.runners))
	for _, r := range h.runners {
		m := r.Member
		m.Jobs = len(r.jobs)
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	return members
}

// drain lets only good things happen: then every job must come to its end, and every
// runner to the present template.
func (h *history) drain() error {
	for range 3 * (h.jobs + 1) {
		h.leaving = nil
		for _, r := range h.runners {
			r.Starting = false
			h.finish(r)
		}
		if err := h.decide(); err != nil {
			return err
		}
	}
	if len(h.waiting) > 0 {
		return fmt.Errorf("%d jobs wait for ever", len(h.waiting))
	}
	for ordinal, r := range h.runners {
		if r.Outdated || r.Retiring {
			return fmt.Errorf("runner %d is never replaced", ordinal)
		}
	}
	return nil
}
