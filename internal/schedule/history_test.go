// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// history is a pool of which the decisions of this package are the only scheduler, while
// everything else happens by chance.
type history struct {
	random  *rand.Rand
	now     time.Time
	limits  Limits
	slots   int
	jobs    int
	waiting []Job
	runners map[int]*simulated
	leaving []int
}

type simulated struct {
	Member
	model Model
	jobs  []Job
}

// TestHistories plays random histories and checks the promises to a pool at each step:
// at most slots jobs on a runner, no job on two, never above the maximum, no busy runner
// removed, and every job runs in the end.
func TestHistories(t *testing.T) {
	for seed := range uint64(300) {
		h := newHistory(seed)
		for step := range 120 {
			h.happen()
			if err := h.decide(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
		if err := h.drain(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func newHistory(seed uint64) *history {
	random := rand.New(rand.NewPCG(seed, 1))
	high := 1 + random.IntN(5)
	return &history{
		random:  random,
		now:     epoch,
		limits:  Limits{Min: random.IntN(high + 1), Max: high, IdleTimeout: time.Duration(random.IntN(60)) * time.Second},
		slots:   1 + random.IntN(3),
		runners: map[int]*simulated{},
	}
}

// happen lets one thing happen that the scheduler does not decide.
func (h *history) happen() {
	h.now = h.now.Add(time.Duration(h.random.IntN(20)) * time.Second)
	switch r := h.pick(); h.random.IntN(6) {
	case 0, 1:
		h.jobs++
		h.waiting = append(h.waiting, queued(types.UID(fmt.Sprint("job-", h.jobs)), h.jobs, drawModel(h.random)))
	case 2:
		h.leaving = nil
	case 3:
		if r != nil {
			r.Starting = false
		}
	case 4:
		h.finish(r)
	case 5:
		h.lose(r)
	}
}

func (h *history) pick() *simulated {
	for _, ordinal := range h.ordinals() {
		if h.random.IntN(2) == 0 {
			return h.runners[ordinal]
		}
	}
	return nil
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
	if r == nil || len(r.jobs) == 0 {
		return
	}
	r.model, r.jobs = r.jobs[0].Model, r.jobs[1:]
	r.IdleSince = h.now
}

// lose takes a runner away; its jobs wait again.
func (h *history) lose(r *simulated) {
	if r == nil {
		return
	}
	h.waiting = append(h.waiting, r.jobs...)
	delete(h.runners, r.Ordinal)
}

// decide asks Bind and Scale, checks their answers, and does as they say.
func (h *history) decide() error {
	if err := h.bind(); err != nil {
		return err
	}
	scaling := Scale(h.limits, h.members(), h.leaving, len(h.waiting), h.now)
	for _, ordinal := range scaling.Remove {
		r := h.runners[ordinal]
		switch {
		case r == nil:
			return fmt.Errorf("runner %d is removed but does not exist", ordinal)
		case len(r.jobs) > 0:
			return fmt.Errorf("runner %d is removed but has a job", ordinal)
		case r.Starting && len(h.waiting) > 0:
			return fmt.Errorf("runner %d is removed while it starts and jobs wait", ordinal)
		}
		delete(h.runners, ordinal)
		h.leaving = append(h.leaving, ordinal)
	}
	for _, ordinal := range scaling.Create {
		if h.runners[ordinal] != nil || slices.Contains(h.leaving, ordinal) {
			return fmt.Errorf("runner %d is created but exists", ordinal)
		}
		h.runners[ordinal] = &simulated{Member: Member{Ordinal: ordinal, Starting: true, IdleSince: h.now}}
	}
	if n := len(h.runners) + len(h.leaving); n > h.limits.Max {
		return fmt.Errorf("there are %d runners, above the maximum %d", n, h.limits.Max)
	}
	return nil
}

func (h *history) bind() error {
	var fleet []Runner
	for _, ordinal := range h.ordinals() {
		if r := h.runners[ordinal]; !r.Starting {
			fleet = append(fleet, Runner{Name: fmt.Sprint(ordinal), Model: r.model, Jobs: len(r.jobs)})
		}
	}
	bindings := Bind(h.waiting, fleet, h.slots)
	if err := checkBindings(h.waiting, fleet, h.slots, bindings); err != nil {
		return err
	}
	for _, b := range bindings {
		at := slices.IndexFunc(h.waiting, func(j Job) bool { return j.UID == b.Job })
		for ordinal, r := range h.runners {
			if fmt.Sprint(ordinal) == b.Runner {
				r.jobs = append(r.jobs, h.waiting[at])
			}
		}
		h.waiting = slices.Delete(h.waiting, at, at+1)
	}
	return nil
}

func (h *history) members() []Member {
	members := make([]Member, 0, len(h.runners))
	for _, ordinal := range h.ordinals() {
		m := h.runners[ordinal].Member
		m.Jobs = len(h.runners[ordinal].jobs)
		members = append(members, m)
	}
	return members
}

// drain lets only good things happen: then every job must come to its end.
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
	return nil
}
