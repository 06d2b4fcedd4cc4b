// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/test/specgen"
)

// How many objects are drawn, and from which seed; `make test-chaos` draws more.
var (
	objectCount = setting("ATELIER_OBJECTS", 2000)
	objectSeed  = setting("ATELIER_SEED", 1)
)

// keptShare is the share of the drawn objects that are really created.
const keptShare = 20

const objectWorkers = 8

func setting(variable string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return otherwise
}

var _ = Describe("Whatever a spec says", Label("chaos"), func() {
	It("is accepted, or refused with the name of a field that is wrong", func(ctx SpecContext) {
		s := newStudio(ctx)
		kinds, tally := everyKind(), &tally{}
		onWorkers(objectCount, func(i int, random *rand.Rand) {
			kind := kinds[i%len(kinds)]
			spec := specgen.Draw(random, kind.Spec, specgen.Options{
				FaultRate: []float64{0, 0.02, 0.1}[random.IntN(3)], Strings: words, Ruled: usual,
			})
			err := s.create(ctx, kind, fmt.Sprintf("drawn-%d", i), spec.Value, client.DryRunAll)
			tally.count(kind, err)
			tally.judge(i, spec, err)
		})
		tally.report(objectCount)
	}, SpecTimeout(20*time.Minute))

	It("leaves no object without a condition that says why, and the manager alive", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPoolOf(ctx, 0, 4, "10m")
		before := managerPod(ctx)
		kinds, tally := everyKind(), &tally{}
		onWorkers(objectCount/keptShare, func(i int, random *rand.Rand) {
			kind := kinds[i%len(kinds)]
			name := fmt.Sprintf("drawn-%d", i)
			spec := specgen.Draw(random, kind.Spec, specgen.Options{
				FaultRate: []float64{0, 0, 0.05}[random.IntN(3)], Largest: 2, Strings: words, Ruled: usual,
			})
			err := s.create(ctx, kind, name, spec.Value)
			tally.count(kind, err)
			if err != nil || kind.Name == "Runner" { // Runners are the manager's own
				return
			}
			ended, err := s.settle(ctx, kind, name)
			tally.settled(kind.Name+" "+ended, err)
		})
		tally.report(objectCount / keptShare)

		after := managerPod(ctx)
		Expect(after.UID).To(Equal(before.UID))
		Expect(after.Status.ContainerStatuses[0].RestartCount).To(Equal(before.Status.ContainerStatuses[0].RestartCount))
		log, err := cluster.KubectlOutput(ctx, "logs", "-n", "atelier-system", "deployment/atelier-manager")
		Expect(err).NotTo(HaveOccurred())
		Expect(log).NotTo(MatchRegexp(`(?i)\bpanic`))
	}, SpecTimeout(20*time.Minute))
})

// usual returns what fields with rules mostly get: names of things that there are and of
// one that there is not, or durations.
func usual(rule string) []string {
	if strings.Contains(rule, "duration(") {
		return []string{"10s", "90s", "2m", "24h", "0s", "1d"}
	}
	return []string{"tiny", "tiny", "tiny", "default", "default", "default", "none"}
}

// words are strings that mean something to the manager or that others tripped over.
var words = []string{
	"tiny", "default", "none", "a red apple", "album/cats", "../up", "/etc/passwd", "a//b", ".", "-", "a.b", "A",
	"{{.Name}}", "$(id)", "'; --", "\u202e", "\ufeff", "null", "In", "Exists", "kubernetes.io/metadata.name",
}

// everyKind reads the CustomResourceDefinitions of config/crd.
func everyKind() []specgen.Kind {
	GinkgoHelper()
	paths, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	Expect(err).NotTo(HaveOccurred())
	var kinds []specgen.Kind
	for _, path := range paths {
		kind, err := specgen.Read(path)
		Expect(err).NotTo(HaveOccurred())
		kinds = append(kinds, kind)
	}
	Expect(kinds).NotTo(BeEmpty())
	return kinds
}

// onWorkers runs n pieces of work, each with randomness that depends on nothing but the
// seed and its number.
func onWorkers(n int, work func(i int, random *rand.Rand)) {
	var group sync.WaitGroup
	for worker := range objectWorkers {
		group.Go(func() {
			defer GinkgoRecover()
			for i := worker; i < n; i += objectWorkers {
				work(i, rand.New(rand.NewPCG(uint64(objectSeed), uint64(i))))
			}
		})
	}
	group.Wait()
}

// create creates an object as kubectl does: a field that its kind does not have is refused.
// What the API server accepts the manager has to be able to read: one object that it can't
// keeps it from listing any of the kind.
func (s *studio) create(ctx context.Context, kind specgen.Kind, name string, spec any, options ...client.CreateOption) error {
	object := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind.Name))
	object.SetNamespace(s.namespace)
	object.SetName(name)
	if err := api.Create(ctx, object, append(options, client.FieldValidation(metav1.FieldValidationStrict))...); err != nil {
		return err
	}
	typed, err := api.Scheme().New(object.GroupVersionKind())
	Expect(err).NotTo(HaveOccurred())
	data, err := object.MarshalJSON()
	Expect(err).NotTo(HaveOccurred())
	Expect(json.Unmarshal(data, typed)).To(Succeed(), "accepted, but Go can't read it: %.500s", data)
	return nil
}

// settle waits until an object has ended or says on what it waits, which must be something
// that no one brings about here, and deletes it. It returns how the object ended.
func (s *studio) settle(ctx context.Context, kind specgen.Kind, name string) (string, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind.Name))
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		if err := api.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, object); err != nil {
			if apierrors.IsNotFound(err) {
				return "expired", nil
			}
			return "", err
		}
		if end := endOf(object); end != "" {
			return end, client.IgnoreNotFound(api.Delete(ctx, object))
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return "", fmt.Errorf("%s %s is stuck: status %v, spec %.500s", kind.Name, name, object.Object["status"], fmt.Sprint(object.Object["spec"]))
}

// passing are reasons for which a job waits only a while.
var passing = []string{v1alpha1.ReasonWaitingForRunner, v1alpha1.ReasonReleasing, v1alpha1.ReasonBackoff}

// endOf says where an object has come to rest; empty where it has not.
func endOf(object *unstructured.Unstructured) string {
	var conditions struct {
		Status struct {
			ObservedGeneration int64              `json:"observedGeneration"`
			Conditions         []metav1.Condition `json:"conditions"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &conditions); err != nil {
		return ""
	}
	if conditions.Status.ObservedGeneration != object.GetGeneration() {
		return ""
	}
	find := func(kind string) *metav1.Condition {
		return meta.FindStatusCondition(conditions.Status.Conditions, kind)
	}
	if scheduled := find(v1alpha1.ConditionScheduled); scheduled != nil && find(v1alpha1.ConditionReconciling) != nil {
		if scheduled.Status == metav1.ConditionTrue || slices.Contains(passing, scheduled.Reason) || scheduled.Message == "" {
			return ""
		}
		return "waits: " + scheduled.Reason
	}
	for _, kind := range []string{v1alpha1.ConditionReady, "Suspended"} {
		if c := find(kind); c != nil && c.Message != "" {
			return string(c.Status) + ": " + c.Reason
		}
	}
	return ""
}

// tally counts what became of the objects.
type tally struct {
	mu      sync.Mutex
	counts  map[string]int
	strange []string
}

func (t *tally) add(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[what]++
}

func (t *tally) wonder(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.strange = append(t.strange, fmt.Sprintf(format, args...))
}

func (t *tally) count(kind specgen.Kind, err error) {
	if err != nil {
		t.add(kind.Name + " refused")
		return
	}
	t.add(kind.Name + " accepted")
}

func (t *tally) settled(what string, err error) {
	if err != nil {
		t.wonder("%v", err)
		return
	}
	t.add(what)
}

// judge compares the API server's answer with what was drawn.
func (t *tally) judge(i int, spec specgen.Spec, err error) {
	named := fieldsOf(err)
	isNamed := func(path string) bool { return slices.Contains(named, path) }
	isRuled := func(field string) bool {
		return slices.ContainsFunc(spec.Ruled, func(path string) bool { return field == path || strings.HasPrefix(field, path+".") })
	}
	switch {
	case err == nil && len(spec.Faults) > 0:
		t.wonder("object %d is accepted in spite of %v: %v", i, spec.Faults, spec.Value)
	case err != nil && len(spec.Faults) > 0 && !slices.ContainsFunc(spec.Faults, isNamed):
		t.wonder("object %d has %v wrong, the message names only %v: %v: %v", i, spec.Faults, named, err, spec.Value)
	case err != nil && len(spec.Faults) == 0 && !slices.ContainsFunc(named, isRuled):
		t.wonder("object %d has nothing wrong and is refused: %v", i, err)
	}
}

var unknownField = regexp.MustCompile(`unknown field "([^"]+)"`)

// fieldsOf returns the fields that a refusal names.
func fieldsOf(err error) []string {
	var fields []string
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		for _, cause := range status.Status().Details.Causes {
			fields = append(fields, cause.Field)
		}
	}
	if err != nil {
		for _, match := range unknownField.FindAllStringSubmatch(err.Error(), -1) {
			fields = append(fields, match[1])
		}
	}
	return fields
}

// report prints the figures and fails where anything was strange.
func (t *tally) report(n int) {
	GinkgoHelper()
	lines := []string{fmt.Sprintf("seed %d, %d objects", objectSeed, n)}
	for what, count := range t.counts {
		lines = append(lines, fmt.Sprintf("%6d %s", count, what))
	}
	slices.Sort(lines[1:])
	AddReportEntry("objects", strings.Join(lines, "\n"))
	Expect(t.strange).To(BeEmpty(), "%d are strange (seed %d)", len(t.strange), objectSeed)
}
