// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// The simulation runs the manager's reconcilers in a world in which everything happens in
// one goroutine, in an order that a seed decides: watch events arrive late and per object,
// writes fail before or after they took effect, runners crash, pods vanish, managers
// restart. After each write it checks what must hold at all times.

// simNamespace has the pool, and simGuests has jobs that use it as far as it lets them.
const (
	simNamespace = "studio"
	simGuests    = "guests"
	// guest begins the names of their jobs.
	guest = "guest-"
)

// namespaceOf is where a job of that name is.
func namespaceOf(job string) string {
	if strings.HasPrefix(job, guest) {
		return simGuests
	}
	return simNamespace
}

// world is one simulated cluster.
type world struct {
	ctx    context.Context
	random *rand.Rand
	clock  *clocktesting.FakePassiveClock
	// truth is what the API server has.
	truth *simAPI
	// watched is what the manager's watches have brought, and standby what those of the
	// manager that is to take over.
	watched, standby *feed
	// poolSpec is what differs of the pool that acts are played in.
	poolSpec func(*v1alpha1.RunnerPoolSpec)
	// lateness of watch events; nil where they arrive in the turn after they happened.
	lateness *lateness
	// fault decides the fate of the manager's n-th write.
	fault  func(n int, what string) fate
	writes int

	jobs  *JobReconciler
	pools *PoolReconciler
	model *ModelReconciler

	// dead are the nodes that have failed. Their kubelets say nothing, their runners do
	// nothing, and their pods stay until they are mended.
	dead map[string]bool

	// ended keeps the statuses of terminal jobs, which never change again.
	ended map[types.UID]v1alpha1.GenerationJobStatus
	// progress keeps the furthest point that each job's attempt showed.
	progress map[string]int32
	// seen keeps each job as it was at the last check.
	seen map[types.UID]*v1alpha1.GenerationJob
	// dropped are the jobs that a user deleted.
	dropped map[types.UID]bool
	// hung are the pods whose process does nothing any more.
	hung map[types.UID]bool
	// reports counts what runners wrote.
	reports int
	// news is what the manager has to do; nil where it does everything all the time.
	news inbox
	// phaseSeen is told of each job at each check.
	phaseSeen func(*v1alpha1.GenerationJob)
	broken    error
}

// fate is what becomes of a write.
type fate int

const (
	fateDone fate = iota
	// fateLost: the write does not happen, and returns an error.
	fateLost
	// fateUnheard: the write happens, but returns an error.
	fateUnheard
	// fateConflict: the API server refuses the write as a conflict.
	fateConflict
	// fateDeath: the write happens, then the manager's process dies and starts again.
	fateDeath
	// fateTakeover: the write happens, then the manager's process dies and the one that
	// stands by takes over, with what it knows.
	fateTakeover
)

func (f fate) String() string {
	return []string{"done", "lost", "unheard", "conflict", "death", "takeover"}[f]
}

var simScheme = NewScheme()

var (
	errLost    = errors.New("simulated: connection refused")
	errHot     = errors.New("simulated: the manager never comes to rest")
	errUnheard = errors.New("simulated: connection reset by peer")
)

func newWorld(seed uint64) *world {
	w := &world{
		ctx:       context.Background(),
		random:    rand.New(rand.NewPCG(seed, 7)),
		clock:     clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		watched:   newFeed(),
		standby:   newFeed(),
		fault:     func(int, string) fate { return fateDone },
		dead:      map[string]bool{},
		ended:     map[types.UID]v1alpha1.GenerationJobStatus{},
		progress:  map[string]int32{},
		seen:      map[types.UID]*v1alpha1.GenerationJob{},
		phaseSeen: func(*v1alpha1.GenerationJob) {},
		poolSpec:  func(*v1alpha1.RunnerPoolSpec) {},
		dropped:   map[types.UID]bool{},
		hung:      map[types.UID]bool{},
	}
	w.truth = &simAPI{clock: w.clock, objects: simStore{}, stuck: w.stuck, announce: w.announce}
	for i := range 3 {
		w.must(w.truth.Create(w.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("node-", i)}}))
	}
	w.must(w.truth.Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: simGuests, Labels: map[string]string{"guests": "yes"}}}))
	w.startManager()
	w.standBy()
	return w
}

// startManager replaces the manager by a new process, whose caches begin fresh.
func (w *world) startManager() {
	w.watched = newFeed()
	clear(w.news)
	for _, key := range w.stale() {
		w.catchUp(key)
	}
	w.startReconcilers()
}

func (w *world) startReconcilers() {
	c := &simManager{simAPI: w.truth, world: w}
	bindings := &Bindings{}
	w.jobs = &JobReconciler{
		Client: c, Live: w.truth, Recorder: &events.FakeRecorder{}, Clock: w.clock,
		Backoff: Backoff{Base: time.Second, Max: time.Minute}, Bindings: bindings,
	}
	w.pools = &PoolReconciler{Client: c, Live: w.truth, Recorder: &events.FakeRecorder{}, Clock: w.clock, Image: "runner", Bindings: bindings}
	w.model = &ModelReconciler{Client: c, Clock: w.clock}
}

// must records what should not go wrong in the simulation itself.
func (w *world) must(err error) {
	if err != nil && w.broken == nil {
		w.broken = err
	}
}

// stale returns where the cache differs from the API server, in a fixed order.
func (w *world) stale() []simKey {
	var keys []simKey
	for _, key := range w.truth.objects.keys() {
		cached := w.watched.cache[key]
		if cached == nil || cached.GetResourceVersion() != w.truth.objects[key].GetResourceVersion() {
			keys = append(keys, key)
		}
	}
	for _, key := range w.watched.cache.keys() {
		if w.truth.objects[key] == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// died is what a write panics with when the manager's process dies at it, with how it goes on.
type died struct{ fate }

// write lets the manager's next write meet its fate. The cache has seen what the manager
// knows to have written, as the client of the real manager waits for it.
func (w *world) write(verb string, o client.Object, do func() error) error {
	key := keyOf(o)
	w.writes++
	switch f := w.fault(w.writes, verb+" "+key.kind.Kind+" "+key.name.Name); f {
	case fateLost:
		return errLost
	case fateConflict:
		return conflict(key)
	default:
		err := do()
		w.check()
		switch {
		case f == fateDeath || f == fateTakeover:
			panic(died{f})
		case f == fateUnheard:
			return errUnheard
		case err == nil:
			w.catchUp(key)
		}
		return err
	}
}

// reconcile runs one reconciler for one object. A process that dies is started again, or
// another takes over.
func (w *world) reconcile(run func() (ctrl.Result, error)) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case died{fateDeath}:
			w.startManager()
		case died{fateTakeover}:
			w.takeOver()
		default:
			panic(r)
		}
	}()
	// An error is what the world gave the write to meet, and makes for a later attempt.
	_, _ = run()
}

func request(o client.Object) ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKeyFromObject(o)}
}

// work reconciles one object that the API server has. A job or pool that the cache does
// not know is no work, as with a real queue.
func (w *world) work(o client.Object) {
	switch o.(type) {
	case *v1alpha1.GenerationJob:
		w.reconcile(func() (ctrl.Result, error) { return w.jobs.Reconcile(w.ctx, request(o)) })
	case *v1alpha1.RunnerPool:
		w.reconcile(func() (ctrl.Result, error) { return w.pools.Reconcile(w.ctx, request(o)) })
	default:
		w.reconcile(func() (ctrl.Result, error) { return w.model.Reconcile(w.ctx, request(o)) })
	}
}

// workload is everything there is to reconcile.
func (w *world) workload() []client.Object {
	var objects []client.Object
	for _, key := range w.truth.objects.keys() {
		switch o := w.truth.objects[key].(type) {
		case *v1alpha1.GenerationJob, *v1alpha1.RunnerPool, *v1alpha1.Model:
			objects = append(objects, o)
		}
	}
	return objects
}

// stored returns the objects of one kind that the API server has, to look at.
func stored[T client.Object](w *world) []T {
	var objects []T
	for _, object := range w.truth.objects {
		if o, ok := object.(T); ok {
			objects = append(objects, o)
		}
	}
	slices.SortFunc(objects, func(a, b T) int {
		return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
	})
	return objects
}

// all returns copies of the objects of one kind that the API server has, to change.
func all[T client.Object](w *world) []T {
	objects := stored[T](w)
	for i, o := range objects {
		objects[i] = o.DeepCopyObject().(T)
	}
	return objects
}

// collectGarbage deletes Runners whose pods are gone, as the API server's collector does.
func (w *world) collectGarbage() {
	pods := map[types.UID]bool{}
	for _, pod := range stored[*corev1.Pod](w) {
		pods[pod.UID] = true
	}
	for _, runner := range all[*v1alpha1.Runner](w) {
		if !pods[runner.Spec.PodUID] {
			w.must(client.IgnoreNotFound(w.truth.Delete(w.ctx, runner)))
		}
	}
}

// alive returns a Runner's pod, nil where it does not run.
func (w *world) alive(runner *v1alpha1.Runner) *corev1.Pod {
	for _, pod := range stored[*corev1.Pod](w) {
		if pod.UID == runner.Spec.PodUID && !podFinished(pod) && pod.Spec.NodeName != "" && !w.stuck(pod) {
			return pod.DeepCopy()
		}
	}
	return nil
}

// stepRunner lets one runner's process do the next thing it would do.
func (w *world) stepRunner(runner *v1alpha1.Runner, failure *v1alpha1.AssignmentError) {
	if w.alive(runner) == nil || w.hung[runner.Spec.PodUID] {
		return
	}
	status, before := &runner.Status, runner.Status.DeepCopy()
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonStarted})
	status.Assignments = slices.DeleteFunc(status.Assignments, func(r v1alpha1.AssignmentReport) bool {
		return !slices.ContainsFunc(runner.Spec.Assignments, func(a v1alpha1.Assignment) bool { return a.UID == r.UID && a.Attempt == r.Attempt })
	})
	for _, a := range runner.Spec.Assignments {
		at := slices.IndexFunc(status.Assignments, func(r v1alpha1.AssignmentReport) bool { return r.UID == a.UID })
		if at < 0 {
			at = len(status.Assignments)
			status.Assignments = append(status.Assignments, v1alpha1.AssignmentReport{UID: a.UID, Attempt: a.Attempt})
		}
		if report := &status.Assignments[at]; report.Phase != v1alpha1.PhaseSucceeded && report.Phase != v1alpha1.PhaseFailed {
			warm := status.Model != nil && status.Model.UID == a.Model.UID
			w.advance(report, a, warm, failure)
			status.Model = &v1alpha1.LoadedModel{Name: a.Model.Name, UID: a.Model.UID, Generation: a.Model.Generation}
			break
		}
	}
	if !reflect.DeepEqual(before, status) {
		w.must(w.truth.Status().Update(w.ctx, runner))
		w.reports++
		w.check()
	}
}

// advance moves a report on by one phase, or to Failed. A runner that has the model loaded
// begins with Generating.
func (w *world) advance(report *v1alpha1.AssignmentReport, a v1alpha1.Assignment, warm bool, failure *v1alpha1.AssignmentError) {
	enter := func(phase v1alpha1.Phase, progress int32) {
		closeStage(report.Stages, w.clock.Now())
		report.Phase, report.Progress = phase, progress
		if slices.Contains(runnerPhases, phase) {
			report.Stages = append(report.Stages, v1alpha1.Stage{Phase: phase, StartTime: metav1.NewMicroTime(w.clock.Now())})
		}
		report.ModelLoaded = progress >= v1alpha1.ProgressGenerating
	}
	switch {
	case failure != nil:
		enter(v1alpha1.PhaseFailed, report.Progress)
		report.Error = failure
	case report.Phase == "" && warm:
		enter(v1alpha1.PhaseInitializing, v1alpha1.ProgressInitializing)
		enter(v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading)
		enter(v1alpha1.PhaseGenerating, v1alpha1.ProgressGenerating)
	case report.Phase == "":
		enter(v1alpha1.PhaseInitializing, v1alpha1.ProgressInitializing)
	case report.Phase == v1alpha1.PhaseInitializing:
		enter(v1alpha1.PhaseModelLoading, v1alpha1.ProgressModelLoading)
	case report.Phase == v1alpha1.PhaseModelLoading:
		enter(v1alpha1.PhaseGenerating, v1alpha1.ProgressGenerating)
	case report.Phase == v1alpha1.PhaseGenerating:
		enter(v1alpha1.PhaseSaving, v1alpha1.ProgressSaving)
	default:
		enter(v1alpha1.PhaseSucceeded, v1alpha1.ProgressSucceeded)
		report.Outputs = []v1alpha1.Output{{Seed: a.Seed, Path: string(a.UID), SHA256: fmt.Sprint(a.Seed)}}
	}
}

// addJob lets a user ask for a picture.
func (w *world) addJob(name, model string, backoffLimit int32, change ...func(*v1alpha1.GenerationJobSpec)) {
	job := &v1alpha1.GenerationJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(name), Name: name},
		Spec: v1alpha1.GenerationJobSpec{
			ModelRef:     v1alpha1.ObjectReference{Name: model},
			PoolRef:      &v1alpha1.PoolReference{Name: "default", Namespace: new(simNamespace)},
			Prompt:       "a red apple",
			BackoffLimit: &backoffLimit,
		},
	}
	for _, c := range change {
		c(&job.Spec)
	}
	w.must(w.truth.Create(w.ctx, job))
}

// changeJob lets a user change what can be changed of a job.
func (w *world) changeJob(name string, change func(*v1alpha1.GenerationJobSpec)) {
	var job v1alpha1.GenerationJob
	if w.truth.Get(w.ctx, types.NamespacedName{Namespace: namespaceOf(name), Name: name}, &job) == nil {
		change(&job.Spec)
		w.must(w.truth.Update(w.ctx, &job))
	}
}

// dropJob lets a user delete a job.
func (w *world) dropJob(job *v1alpha1.GenerationJob) {
	w.dropped[job.UID] = true
	w.must(w.truth.Delete(w.ctx, job))
}

func suspend(spec *v1alpha1.GenerationJobSpec) { spec.Suspend = new(true) }
func resume(spec *v1alpha1.GenerationJobSpec)  { spec.Suspend = nil }
func cancel(spec *v1alpha1.GenerationJobSpec)  { spec.Cancel = new(true) }

func (w *world) addClass(name string, value int32) {
	w.must(w.truth.Create(w.ctx, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value}))
}

func (w *world) addModel(name string) {
	for _, namespace := range []string{simNamespace, simGuests} {
		w.must(w.truth.Create(w.ctx, &v1alpha1.Model{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       v1alpha1.ModelSpec{Source: v1alpha1.ModelSource{Path: name}},
		}))
	}
}

func (w *world) addPool(maximum, slots int32) {
	w.must(w.truth.Create(w.ctx, &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: simNamespace, Name: "default"},
		Spec: v1alpha1.RunnerPoolSpec{
			MaxRunners:  &maximum,
			Slots:       &slots,
			IdleTimeout: new(v1alpha1.Duration("1m")),
			AllowedNamespaces: &v1alpha1.AllowedNamespaces{
				From:     new(v1alpha1.NamespacesFromSelector),
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"guests": "yes"}},
			},
		},
	}))
}

// check notes the first violation of what must hold at all times.
func (w *world) check() {
	if w.broken != nil {
		return
	}
	w.broken = errors.Join(w.checkRunners(), w.checkJobs(), w.checkPods())
}

// checkRunners: no runner has more than its slots, and no two have anything of one job, be it
// an assignment or something to let go of.
func (w *world) checkRunners() error {
	slots := int(*w.thePool().Spec.Slots)
	holder := map[string]string{}
	for _, runner := range stored[*v1alpha1.Runner](w) {
		if n := len(runner.Spec.Assignments); n > slots {
			return fmt.Errorf("runner %s has %d assignments of %d", runner.Name, n, slots)
		}
		for _, uid := range heldJobs(runner) {
			if other, twice := holder[uid]; twice {
				return fmt.Errorf("job %s is in the hands of %s and %s", uid, other, runner.Name)
			}
			holder[uid] = runner.Name
		}
	}
	return nil
}

// checkJobs: a terminal job holds no runner and never changes, and progress never goes
// down within an attempt.
func (w *world) checkJobs() error {
	if err := w.checkGone(); err != nil {
		return err
	}
	for _, job := range stored[*v1alpha1.GenerationJob](w) {
		if err := w.checkJob(job, w.seen[job.UID]); err != nil {
			return fmt.Errorf("job %s: %w", job.Name, err)
		}
		w.seen[job.UID] = job
		w.phaseSeen(job)
		key := fmt.Sprint(job.UID, "/", job.Status.Attempt)
		if job.Status.Progress < w.progress[key] {
			return fmt.Errorf("progress of %s went from %d down to %d", key, w.progress[key], job.Status.Progress)
		}
		w.progress[key] = job.Status.Progress
		if !jobFinished(job) {
			continue
		}
		ended, before := w.ended[job.UID]
		switch {
		case !before:
			w.ended[job.UID] = job.Status
			if err := w.checkEnd(job); err != nil {
				return err
			}
		case !reflect.DeepEqual(ended, asObserved(job.Status, ended.ObservedGeneration)):
			return fmt.Errorf("job %s changed after its end", job.Name)
		}
	}
	return nil
}

// asObserved is a status as if it spoke of another generation of the spec.
func asObserved(status v1alpha1.GenerationJobStatus, generation int64) v1alpha1.GenerationJobStatus {
	status = *status.DeepCopy()
	status.ObservedGeneration = generation
	for i := range status.Conditions {
		status.Conditions[i].ObservedGeneration = generation
	}
	return status
}

// checkGone: the manager deletes no job but one whose time to live is over.
func (w *world) checkGone() error {
	exists := map[types.UID]bool{}
	for _, job := range stored[*v1alpha1.GenerationJob](w) {
		exists[job.UID] = true
	}
	for uid, job := range w.seen {
		if exists[uid] || w.dropped[uid] {
			continue
		}
		if expiry, expires := expiryOf(job); !expires || w.clock.Now().Before(expiry) {
			return fmt.Errorf("job %s was deleted at %v; expires %t, at %v", job.Name, w.clock.Now(), expires, expiry)
		}
	}
	return nil
}

// checkJob: the seed stays, stages follow one another, and a job that becomes Suspended is
// in no runner's hands.
func (w *world) checkJob(job, before *v1alpha1.GenerationJob) error {
	if before == nil {
		before = &v1alpha1.GenerationJob{}
	}
	if seed := before.Status.Seed; seed != nil && *seed != *job.Status.Seed {
		return fmt.Errorf("the seed went from %d to %d", *seed, *job.Status.Seed)
	}
	if becameTrue(&before.Status, &job.Status, v1alpha1.ConditionSuspended) {
		for _, runner := range stored[*v1alpha1.Runner](w) {
			if _, held := holdingOf(runner, job.UID); held {
				return fmt.Errorf("it is Suspended while runner %s holds it", runner.Name)
			}
		}
	}
	return checkStages(&job.Status)
}

// checkStages: each stage begins when the one before it ends, and only the last one lasts.
func checkStages(status *v1alpha1.GenerationJobStatus) error {
	for i, stage := range status.Stages {
		switch last := i == len(status.Stages)-1; {
		case stage.EndTime == nil && (!last || endOf(status) != nil):
			return fmt.Errorf("stage %s has no end: %v", stage.Phase, status.Stages)
		case stage.EndTime != nil && stage.EndTime.Time.Before(stage.StartTime.Time):
			return fmt.Errorf("stage %s ends before it begins: %v", stage.Phase, status.Stages)
		case i > 0 && !stage.StartTime.Equal(status.Stages[i-1].EndTime):
			return fmt.Errorf("stage %s does not follow the one before it: %v", stage.Phase, status.Stages)
		}
	}
	return nil
}

// checkEnd: what a job must be when it becomes terminal.
func (w *world) checkEnd(job *v1alpha1.GenerationJob) error {
	for _, runner := range stored[*v1alpha1.Runner](w) {
		if _, held := holdingOf(runner, job.UID); held {
			return fmt.Errorf("job %s ended while runner %s held it", job.Name, runner.Name)
		}
	}
	switch status := job.Status; {
	case status.Failures > *job.Spec.BackoffLimit+1:
		return fmt.Errorf("job %s failed %d times with a limit of %d", job.Name, status.Failures, *job.Spec.BackoffLimit)
	case status.Phase == v1alpha1.PhaseSucceeded && (len(status.Outputs) != 1 || status.Outputs[0].Seed != *status.Seed || status.Progress != 100):
		return fmt.Errorf("job %s succeeded with %+v", job.Name, status)
	case status.Phase != v1alpha1.PhaseSucceeded && meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionStalled) == nil:
		return fmt.Errorf("job %s is %s without being stalled", job.Name, status.Phase)
	case status.Phase == v1alpha1.PhaseCancelled && !cancelled(job):
		return fmt.Errorf("job %s is cancelled without having been asked to", job.Name)
	}
	return nil
}

// checkPods: never above the maximum, but for pods on nodes that failed.
func (w *world) checkPods() error {
	pods := slices.DeleteFunc(stored[*corev1.Pod](w), func(pod *corev1.Pod) bool {
		return (&member{pod: pod}).stranded(w.clock.Now())
	})
	if n, most := len(pods), int(*w.thePool().Spec.MaxRunners); n > most {
		return fmt.Errorf("there are %d pods, above the maximum %d", n, most)
	}
	return nil
}

func (w *world) thePool() *v1alpha1.RunnerPool {
	var pool v1alpha1.RunnerPool
	w.must(w.truth.Get(w.ctx, types.NamespacedName{Namespace: simNamespace, Name: "default"}, &pool))
	pool.Spec.Slots = new(ptr.Deref(pool.Spec.Slots, 1))
	return &pool
}

// settle lets everything go well until nothing changes any more.
func (w *world) settle() error {
	w.fault = func(int, string) fate { return fateDone }
	for _, job := range all[*v1alpha1.GenerationJob](w) {
		w.changeJob(job.Name, resume)
	}
	quiet, rest := 0, 1
	if w.lateness != nil {
		rest = restTurns
	}
	for range 100 {
		before := w.writes
		w.round()
		if w.broken != nil {
			return w.broken
		}
		if quiet++; w.writes != before || len(w.stale()) > 0 || !w.allEnded() {
			quiet = 0
		}
		if quiet == rest {
			return w.checkRest()
		}
	}
	return fmt.Errorf("nothing settled: %s", w.describe())
}

// round lets everyone take one turn, in a fixed order.
func (w *world) round() {
	w.clock.SetTime(w.clock.Now().Add(10 * time.Second))
	w.schedulePods()
	w.collectGarbage()
	if w.lateness != nil {
		w.lateTurn()
		return
	}
	for _, key := range w.stale() {
		w.catchUp(key)
	}
	if w.news != nil {
		w.workOnNews()
	} else {
		for _, o := range w.workload() {
			w.work(o)
		}
	}
	for _, runner := range all[*v1alpha1.Runner](w) {
		w.stepRunner(runner, nil)
	}
}

func (w *world) allEnded() bool {
	return !slices.ContainsFunc(stored[*v1alpha1.GenerationJob](w), func(job *v1alpha1.GenerationJob) bool { return !jobFinished(job) })
}

// checkRest: what is left when all jobs have ended.
func (w *world) checkRest() error {
	for _, runner := range all[*v1alpha1.Runner](w) {
		if held := heldJobs(runner); len(held) > 0 {
			return fmt.Errorf("runner %s still holds %v", runner.Name, held)
		}
	}
	template, err := runnerTemplate(w.thePool(), "runner")
	w.must(err)
	for _, pod := range all[*corev1.Pod](w) {
		if pod.DeletionTimestamp.IsZero() && pod.Annotations[v1alpha1.AnnotationTemplateHash] != templateHash(template) {
			return fmt.Errorf("pod %s is still from an older template", pod.Name)
		}
	}
	return nil
}

// describe says how jobs and runners stand.
func (w *world) describe() string {
	var b strings.Builder
	for _, job := range all[*v1alpha1.GenerationJob](w) {
		fmt.Fprintf(&b, "\njob %s: %s %d%% attempt %d", job.Name, job.Status.Phase, job.Status.Progress, job.Status.Attempt)
		if c := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionScheduled); c != nil {
			fmt.Fprintf(&b, ", %s: %s", c.Reason, c.Message)
		}
	}
	for _, runner := range all[*v1alpha1.Runner](w) {
		fmt.Fprintf(&b, "\nrunner %s: holds %v", runner.Name, heldJobs(runner))
	}
	return b.String()
}
