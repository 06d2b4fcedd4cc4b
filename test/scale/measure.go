// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// creators is how many clients create objects at a time.
const creators = 16

// samples are durations from several goroutines.
type samples struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *samples) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

// take returns the samples in order and forgets them.
func (s *samples) take() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	slices.Sort(all)
	return all
}

// percentiles are the figure of a line.
func percentiles(sorted []time.Duration) string {
	if len(sorted) == 0 {
		return "nothing"
	}
	at := func(share float64) time.Duration {
		return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))].Round(time.Millisecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, longest %v", at(0.5), at(0.99), at(1))
}

// run takes the measurements one after another.
func (s *site) run(ctx context.Context) ([]result, error) {
	var results []result
	for _, part := range []func(context.Context) ([]result, error){s.warmUp, s.latency, s.queue, s.drain, s.peer} {
		found, err := part(ctx)
		results = append(results, found...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// warmUp has every runner load the model.
func (s *site) warmUp(ctx context.Context) ([]result, error) {
	_, err := s.runJobs(ctx, "warm", 2*s.options.runners, 0)
	return nil, err
}

// latency creates jobs at the wanted rate while there are runners without one.
func (s *site) latency(ctx context.Context) ([]result, error) {
	book, err := s.runJobs(ctx, "steady", s.options.latencyJobs, s.options.rate)
	if err != nil {
		return nil, err
	}
	rate := float64(s.options.latencyJobs) / book.created.Seconds()
	return []result{
		{fmt.Sprintf("created to assigned, %d jobs at %.0f/s", s.options.latencyJobs, rate), percentiles(book.assigned.take()), "p99 under 500ms at 100/s"},
		{"created to Succeeded, same jobs", percentiles(book.ended.take()), fmt.Sprintf("the picture takes %v", s.options.picture)},
	}, nil
}

// queue has jobs wait for GPUs whose pictures take long enough for the control plane to keep
// up.
func (s *site) queue(ctx context.Context) ([]result, error) {
	s.gaps.take()
	s.queueStart.Store(time.Now().UnixNano())
	s.picture.Store(int64(s.options.longPicture))
	defer s.picture.Store(int64(s.options.picture))
	_, err := s.runJobs(ctx, "long", s.options.longJobs, 0)
	return []result{{fmt.Sprintf("GPU without work between two jobs of a queue, pictures of %v", s.options.longPicture),
		percentiles(s.gaps.take()), "at most 5s"}}, err
}

// drain creates jobs as fast as the API server takes them, and more than it can keep up with.
func (s *site) drain(ctx context.Context) ([]result, error) {
	book, err := s.runJobs(ctx, "drain", s.options.jobs, 0)
	if err != nil {
		return nil, err
	}
	return []result{{fmt.Sprintf("%d jobs of %v, first created to last Succeeded", s.options.jobs, s.options.picture),
		fmt.Sprintf("%.0f s, %.1f jobs/s", book.took.Seconds(), float64(s.options.jobs)/book.took.Seconds()), "over 43 jobs/s"}}, nil
}

// book is what became of some jobs.
type book struct {
	// created is how long it took to create them, took until the last one ended.
	created, took time.Duration
	// assigned and ended are measured from just before each was created.
	assigned, ended samples
}

// runJobs creates jobs, at a rate a second unless that is zero, and returns when all have
// succeeded.
func (s *site) runJobs(ctx context.Context, prefix string, count, rate int) (*book, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := &book{}
	begun := make([]time.Time, count)
	var mu sync.Mutex // of begun
	since := func(i int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Since(begun[i])
	}
	var watchers sync.WaitGroup
	watchers.Go(func() {
		cancelOn(cancel, s.awaitAssigned(ctx, prefix, count, func(i int) { b.assigned.add(since(i)) }))
	})
	watchers.Go(func() {
		cancelOn(cancel, s.awaitEnded(ctx, prefix, count, func(i int) { b.ended.add(since(i)) }))
	})
	start := time.Now()
	err := createAll(ctx, count, rate, func(i int) error {
		mu.Lock()
		begun[i] = time.Now()
		mu.Unlock()
		return s.api.Create(ctx, job(prefix, i))
	})
	b.created = time.Since(start)
	cancelOn(cancel, err)
	watchers.Wait()
	b.took = time.Since(start)
	return b, context.Cause(ctx)
}

func cancelOn(cancel context.CancelCauseFunc, err error) {
	if err != nil {
		cancel(err)
	}
}

// createAll calls create for each of count things, several at a time, at a rate a second
// unless that is zero.
func createAll(ctx context.Context, count, rate int, create func(i int) error) error {
	var group errgroup.Group
	group.SetLimit(creators)
	start := time.Now()
	for i := range count {
		if rate > 0 {
			sleepUntil(ctx, start.Add(time.Duration(i)*time.Second/time.Duration(rate)))
		}
		group.Go(func() error { return create(i) })
	}
	return group.Wait()
}

func sleepUntil(ctx context.Context, at time.Time) {
	select {
	case <-time.After(time.Until(at)):
	case <-ctx.Done():
	}
}

func job(prefix string, i int) *v1alpha1.GenerationJob {
	return &v1alpha1.GenerationJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%s-%d", prefix, i)},
		Spec: v1alpha1.GenerationJobSpec{
			ModelRef: v1alpha1.ObjectReference{Name: modelName},
			Prompt:   "a lighthouse on a cliff, oil on canvas",
			Steps:    new(int32(4)),
		},
	}
}

// number is the i of job's name.
func number(prefix, name string) (i int, ok bool) {
	n, err := fmt.Sscanf(name, prefix+"-%d", &i)
	return i, err == nil && n == 1
}

// awaitAssigned calls note for each job when a Runner is first seen to have it.
func (s *site) awaitAssigned(ctx context.Context, prefix string, count int, note func(i int)) error {
	seen := make([]bool, count)
	left := count
	return s.each(ctx, &v1alpha1.Runner{}, func(o client.Object) bool {
		for _, a := range o.(*v1alpha1.Runner).Spec.Assignments {
			if i, ok := number(prefix, a.JobName); ok && !seen[i] {
				seen[i] = true
				left--
				note(i)
			}
		}
		return left == 0
	})
}

// awaitEnded calls note for each job when it has succeeded. One that has failed is an error.
func (s *site) awaitEnded(ctx context.Context, prefix string, count int, note func(i int)) error {
	seen := make([]bool, count)
	left := count
	var failed error
	err := s.each(ctx, &v1alpha1.GenerationJob{}, func(o client.Object) bool {
		job := o.(*v1alpha1.GenerationJob)
		i, ok := number(prefix, job.Name)
		switch {
		case !ok || seen[i]:
		case job.Status.Phase == v1alpha1.PhaseFailed:
			failed = fmt.Errorf("job %s failed: %v", job.Name, job.Status.Conditions)
		case job.Status.Phase == v1alpha1.PhaseSucceeded:
			seen[i] = true
			left--
			note(i)
		}
		return left == 0 || failed != nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// each hands every new state of a kind's objects to see, until that has seen enough. see is
// called from one goroutine.
func (s *site) each(ctx context.Context, kind client.Object, see func(client.Object) (enough bool)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	informer, err := s.seen.GetInformer(ctx, kind)
	if err != nil {
		return err
	}
	enough := make(chan struct{})
	var once sync.Once
	look := func(o any) {
		if object, ok := o.(client.Object); ok && ctx.Err() == nil && see(object) {
			once.Do(func() { close(enough) })
		}
	}
	handler, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: look, UpdateFunc: func(_, o any) { look(o) },
	})
	if err != nil {
		return err
	}
	defer func() { _ = informer.RemoveEventHandler(handler) }()
	select {
	case <-enough:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
