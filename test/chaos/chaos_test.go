// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/test/localcluster/processnode"
)

// The variables that set how many jobs run, and what of the storm is random.
const (
	jobsEnv = "ATELIER_JOBS"
	seedEnv = "ATELIER_SEED"
)

// Where jobs run without and with a storm.
const (
	calm   = "calm"
	stormy = "stormy"
)

// backoffLimit is out of reach: what is killed often enough would rightly fail.
const backoffLimit = 100

func TestJobsSurviveAStorm(t *testing.T) {
	if os.Getenv(jobsEnv) == "" {
		t.Skip("takes minutes: set " + jobsEnv + ", as `make test-chaos` does")
	}
	count, seed := number(t, jobsEnv, 0), number(t, seedEnv, rand.Uint64N(1_000_000))
	t.Logf("%d jobs, %s=%d", count, seedEnv, seed)
	s := newSite(t, 4*time.Minute+time.Duration(count)*2*time.Second, "config/default", quickBackoff)
	gpus := 0
	for _, node := range s.nodes {
		gpus += node.GPUs
	}
	calmOutputs, stormyOutputs := s.open(calm, gpus), s.open(stormy, gpus)
	book := newLedger()
	stop := s.keep(book)

	began := time.Now()
	s.submitAll(calm, int(count))
	s.awaitAll(book, calm, int(count))
	undisturbed := time.Since(began)
	s.Eventually(s.podNames(calm)).Should(BeEmpty())
	t.Logf("undisturbed: %.1f s, %.1f jobs/s, %s", undisturbed.Seconds(), float64(count)/undisturbed.Seconds(), tally(book.accounts(calm)))

	weather := newStorm(s.cluster, s.nodes, seed)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s=%d\n%s", seedEnv, seed, strings.Join(weather.history, "\n"))
			t.Log(histories(book.accounts(stormy)))
		}
	})
	began = time.Now()
	s.during(weather, func() {
		s.submitAll(stormy, int(count))
		s.awaitAll(book, stormy, int(count))
	})
	disturbed := time.Since(began)
	t.Logf("disturbed: %.1f s, %.1f jobs/s, %d kills %v, %s", disturbed.Seconds(), float64(count)/disturbed.Seconds(),
		weather.total(), weather.kills, tally(book.accounts(stormy)))
	s.Expect(weather.total()).To(BeNumerically(">=", len(round)), "the jobs were done before the storm had killed one of each kind")

	s.Eventually(s.podNames(stormy)).Should(BeEmpty(), "pods go when idle")
	s.allRunnersGone()
	s.noProcessLeft()
	s.everyGPUFree(gpus)
	stop()
	s.Expect(book.broken()).To(BeEmpty())
	s.samePictures(book, calmOutputs, stormyOutputs, int(count))
}

// number is the value of an environment variable.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("%s=%q is not a number from 0", name, text)
	}
	return n
}

// keep has the ledger follow the cluster until stop is called, or the test ends.
func (s *site) keep(book *ledger) (stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan error, 1)
	go func() { done <- book.follow(ctx, s.cluster.EtcdURL()) }()
	stopped := false
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			if err := <-done; err != nil {
				s.t.Error(err)
			}
		}
	}
	s.t.Cleanup(stop)
	return stop
}

// during runs something in a storm, which is over when it is.
func (s *site) during(weather *storm, work func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	calmed := make(chan error, 1)
	go func() { calmed <- weather.rage(ctx) }()
	// Deferred, as a failed expectation leaves by way of runtime.Goexit.
	defer func() {
		cancel()
		if err := <-calmed; err != nil {
			s.t.Error(err)
		}
	}()
	work()
}

// submitAll creates the jobs, however often that takes.
func (s *site) submitAll(namespace string, count int) {
	s.t.Helper()
	for i := range count {
		job := numberedJob(namespace, i)
		s.Eventually(func() error {
			return client.IgnoreAlreadyExists(s.api.Create(s.ctx, job.DeepCopy()))
		}).WithContext(s.ctx).Should(Succeed(), job.Name)
	}
}

// numberedJob is a job of its own seed; most are short, some take seconds.
func numberedJob(namespace string, i int) *v1alpha1.GenerationJob {
	steps, images, seed, limit := int32(10+7*(i%5)), int32(1+i%2), int64(i), int32(backoffLimit)
	if i%12 == 0 {
		steps = 600
	}
	return &v1alpha1.GenerationJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("job-%04d", i)},
		Spec: v1alpha1.GenerationJobSpec{
			ModelRef: v1alpha1.ObjectReference{Name: models[i/4%len(models)]},
			Prompt:   "a red apple", Steps: &steps, Images: &images, Seed: &seed, BackoffLimit: &limit,
		},
	}
}

// awaitAll waits until all jobs have ended.
func (s *site) awaitAll(book *ledger, namespace string, count int) {
	s.t.Helper()
	s.Eventually(func() int { return len(book.accounts(namespace)) }).WithContext(s.ctx).Should(Equal(count))
	s.Eventually(func() int { return book.unfinished(namespace) }).WithContext(s.ctx).WithTimeout(time.Hour).Should(BeZero())
}

// tally sums up what jobs took.
func tally(accounts map[string]jobAccount) string {
	attempts, failures, writes, most := int32(0), int32(0), 0, int32(0)
	for _, account := range accounts {
		status := account.latest.Status
		attempts += status.Attempt
		failures += status.Failures
		writes += account.writes
		most = max(most, status.Attempt)
	}
	return fmt.Sprintf("%d attempts (%d at most), %d counted failures, %.1f writes a job", attempts, most, failures, float64(writes)/float64(max(len(accounts), 1)))
}

// histories is what happened to the jobs that did not succeed; the first few of them, those
// with the most attempts.
func histories(accounts map[string]jobAccount) string {
	var failed []jobAccount
	for _, account := range accounts {
		if account.latest.Status.Phase != v1alpha1.PhaseSucceeded {
			failed = append(failed, account)
		}
	}
	slices.SortFunc(failed, func(a, b jobAccount) int {
		return cmp.Or(cmp.Compare(b.latest.Status.Attempt, a.latest.Status.Attempt), cmp.Compare(a.latest.Name, b.latest.Name))
	})
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d jobs did not succeed\n", len(failed), len(accounts))
	for _, account := range failed[:min(5, len(failed))] {
		fmt.Fprintf(&b, "%s\n  %s\n", account.latest.Name, strings.Join(account.history, "\n  "))
		for _, c := range account.latest.Status.Conditions {
			fmt.Fprintf(&b, "  %s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	return b.String()
}

// samePictures wants each job of the storm to have succeeded with the files that it has
// undisturbed, and no other files.
func (s *site) samePictures(book *ledger, calmOutputs, stormyOutputs string, count int) {
	s.t.Helper()
	undisturbed, disturbed := book.accounts(calm), book.accounts(stormy)
	s.Expect(disturbed).To(HaveLen(count))
	calmFiles, stormyFiles := s.hashes(calmOutputs), s.hashes(stormyOutputs)
	pictures := 0
	for name, account := range disturbed {
		job, model := account.latest, undisturbed[name].latest
		s.Expect(job.Status.Phase).To(Equal(v1alpha1.PhaseSucceeded), name)
		s.Expect(account.commits).To(Equal(1), name)
		s.Expect(job.Status.Outputs).To(HaveLen(int(*job.Spec.Images)), name)
		s.Expect(job.Status.Outputs).To(HaveLen(len(model.Status.Outputs)), name)
		for i, output := range job.Status.Outputs {
			s.Expect(output.SHA256).To(Equal(model.Status.Outputs[i].SHA256), "picture %d of %s", i, name)
			s.Expect(calmFiles).To(HaveKeyWithValue(model.Status.Outputs[i].Path, output.SHA256))
			s.Expect(stormyFiles).To(HaveKeyWithValue(output.Path, output.SHA256))
			delete(stormyFiles, output.Path)
			pictures++
		}
	}
	partial := 0
	for path := range stormyFiles {
		s.Expect(path).To(HaveSuffix(".partial"), "a file of no job")
		partial++
	}
	s.t.Logf("%d pictures have the bytes of the undisturbed run; %d files were left half-written", pictures, partial)
}

// hashes are the SHA-256 of all files below a directory, by path.
func (s *site) hashes(dir string) map[string]string {
	s.t.Helper()
	found := map[string]string{}
	s.Expect(fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		sum := sha256.Sum256(data)
		found[path] = hex.EncodeToString(sum[:])
		return err
	})).To(Succeed())
	return found
}

// allRunnersGone wants no Runner to outlive its pod.
func (s *site) allRunnersGone() {
	s.t.Helper()
	s.Eventually(func(g Gomega) {
		var runners v1alpha1.RunnerList
		g.Expect(s.api.List(s.ctx, &runners)).To(Succeed())
		g.Expect(runners.Items).To(BeEmpty())
	}).Should(Succeed())
}

// noProcessLeft wants no runner's process on this machine that is this cluster's: all of
// them were started with this cluster's directory in their environment.
func (s *site) noProcessLeft() {
	s.t.Helper()
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		s.t.Log("no /proc here: processes are not looked for")
		return
	}
	s.Eventually(func() []string { return processesOf(s.cluster.Dir(), filepath.Join(s.root, "bin", "runner")) }).Should(BeEmpty())
}

// processesOf lists the processes of a program that have a directory in their environment.
func processesOf(dir, program string) []string {
	var found []string
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return []string{err.Error()}
	}
	for _, process := range paths {
		executable, err := os.Readlink(filepath.Join(process, "exe"))
		if err != nil || executable != program {
			continue // it ended meanwhile, or is not ours to look at
		}
		if environment, err := os.ReadFile(filepath.Join(process, "environ")); err == nil && strings.Contains(string(environment), dir) {
			found = append(found, process)
		}
	}
	return found
}

// everyGPUFree wants to run a pod on each GPU, all at a time.
func (s *site) everyGPUFree(gpus int) {
	s.t.Helper()
	for i := range gpus {
		limit := corev1.ResourceList{processnode.GPUResource: resource.MustParse("1")}
		s.Eventually(func() error {
			return client.IgnoreAlreadyExists(s.api.Create(s.ctx, &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("gpu-%d", i)},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "main", Image: "shell", Command: []string{"/bin/sh", "-c", "exec sleep 1000"},
					Resources: corev1.ResourceRequirements{Limits: limit},
				}}},
			}))
		}).Should(Succeed())
	}
	s.Eventually(func(g Gomega) {
		var pods corev1.PodList
		g.Expect(s.api.List(s.ctx, &pods, client.InNamespace("default"))).To(Succeed())
		g.Expect(pods.Items).To(HaveLen(gpus))
		g.Expect(pods.Items).To(HaveEach(HaveField("Status.Phase", corev1.PodRunning)))
	}).Should(Succeed())
}
