// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func version(n string, generation int64) *v1alpha1.Runner {
	return &v1alpha1.Runner{ObjectMeta: metav1.ObjectMeta{ResourceVersion: n, Generation: generation}}
}

// base gives what is due to be written.
func base(l *ledger) page {
	due, _, _ := l.peek()
	return due
}

func nothing(*v1alpha1.RunnerStatus) {}

// writes accepts what next gives, in the background, and tells the edits that were written.
func writes(t *testing.T, l *ledger) <-chan int64 {
	pages := make(chan int64, 100)
	go func() {
		for {
			p, err := l.next(t.Context())
			if err != nil {
				return
			}
			l.accepted(p, 0, p.resourceVersion+"0")
			pages <- p.version
		}
	}()
	return pages
}

func TestLedgerWritesUrgentEditsAtOnceAndOthersAfterTheInterval(t *testing.T) {
	g := NewWithT(t)
	clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
	l := newLedger(clock, v1alpha1.RunnerStatus{})
	pages := writes(t, l)

	first := l.edit(now, nothing)
	g.Consistently(pages, "50ms").ShouldNot(Receive(), "nothing may be written before there is a Runner")
	l.attach(version("1", 1))
	g.Eventually(pages).Should(Receive(Equal(first + 1)))

	for range 5 {
		l.edit(soon, nothing)
	}
	clock.Step(999 * time.Millisecond)
	g.Consistently(pages, "50ms").ShouldNot(Receive(), "progress was written within the interval")
	g.Eventually(clock.HasWaiters).Should(BeTrue())
	clock.Step(time.Millisecond)
	g.Eventually(pages).Should(Receive(Equal(first + 6)))

	l.edit(soon, nothing)
	l.edit(now, nothing)
	g.Eventually(pages).Should(Receive(Equal(first+8)), "what waits rides along")
	g.Expect(l.idle()).To(BeTrue())
}

// A thousand runners that report each second would keep several processors of the API server
// busy. One that is slow already is asked less.
func TestProgressGivesWayToASlowAPIServer(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0:                      time.Second,
		50 * time.Millisecond:  time.Second,
		200 * time.Millisecond: 4 * time.Second,
		time.Minute:            10 * time.Second,
	} {
		l := newLedger(clocktesting.NewFakeClock(time.Unix(1000, 0)), v1alpha1.RunnerStatus{})
		l.edit(now, nothing)
		l.attach(version("1", 0))
		l.accepted(base(l), took, "2")
		l.edit(soon, nothing)
		if _, delay, _ := l.peek(); delay != want {
			t.Errorf("after a write of %v progress waits %v, want %v", took, delay, want)
		}
		l.edit(now, nothing)
		if _, delay, _ := l.peek(); delay != 0 {
			t.Errorf("after a write of %v a phase waits %v", took, delay)
		}
	}
}

func TestLedgerWritesOnlyAgainstTheVersionItWasDecidedOn(t *testing.T) {
	g := NewWithT(t)
	l := newLedger(clocktesting.NewFakeClock(time.Unix(1000, 0)), v1alpha1.RunnerStatus{})
	l.edit(now, nothing)
	l.attach(version("9", 1))
	old := base(l)
	g.Expect(old.resourceVersion).To(Equal("9"))

	l.attach(version("12", 2))
	g.Expect(base(l).resourceVersion).To(Equal("12"))
	g.Expect(l.read().ObservedGeneration).To(BeEquivalentTo(2))
	l.attach(version("10", 2))
	g.Expect(base(l).resourceVersion).To(Equal("12"), "an old event must not take it back")
	l.accepted(old, 0, "10")
	l.edit(now, nothing)
	g.Expect(base(l).resourceVersion).To(Equal("12"), "nor may an old answer")
	l.edit(now, nothing)
	l.accepted(base(l), 0, "13")
	l.edit(now, nothing)
	g.Expect(base(l).resourceVersion).To(Equal("13"))

	l.edit(now, nothing)
	l.batch(func() {
		l.edit(now, nothing)
		g.Expect(base(l)).To(BeZero(), "nothing is written while something newer is decided on")
		l.attach(version("14", 2))
	})
	g.Expect(base(l).resourceVersion).To(Equal("14"))

	l.detach()
	g.Expect(l.idle()).To(BeTrue(), "without a Runner nothing can be written")
	l.attach(version("2", 1))
	g.Expect(base(l).resourceVersion).To(Equal("2"), "a Runner found anew is taken as it is")
}

func TestLedgerSync(t *testing.T) {
	g := NewWithT(t)
	l := newLedger(clocktesting.NewFakeClock(time.Unix(1000, 0)), v1alpha1.RunnerStatus{})
	g.Expect(l.sync(t.Context())).To(Succeed(), "there is nothing to wait for")
	l.edit(soon, nothing)
	g.Expect(l.sync(t.Context())).To(Succeed(), "progress is not waited for")

	l.edit(now, nothing)
	synced := make(chan error, 1)
	go func() { synced <- l.sync(t.Context()) }()
	g.Consistently(synced, "50ms").ShouldNot(Receive())
	l.attach(version("1", 0))
	l.accepted(base(l), 0, "2")
	g.Eventually(synced).Should(Receive(BeNil()))

	l.edit(now, nothing)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { synced <- l.sync(ctx) }()
	cause := errors.New("cause")
	cancel(cause)
	g.Eventually(synced).Should(Receive(MatchError(cause)))
}
