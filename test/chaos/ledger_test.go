// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// ledger has every write of a GenerationJob and of a Runner, one after the other as etcd
// applied them, and holds them to what must never happen. It reads from etcd itself, so
// that it misses none while the API server is gone.
type ledger struct {
	mu         sync.Mutex
	jobs       map[types.UID]*jobAccount
	bound      map[string]map[types.UID]int32 // by Runner: attempts of the jobs that its spec has
	revision   int64
	violations []string
}

// jobAccount is what the ledger knows of a job.
type jobAccount struct {
	latest  v1alpha1.GenerationJob
	writes  int
	commits int
	history []string
}

func newLedger() *ledger {
	return &ledger{jobs: map[types.UID]*jobAccount{}, bound: map[string]map[types.UID]int32{}}
}

// Where the API server keeps the kinds of this repository in etcd.
const (
	groupPrefix  = "/registry/generation.atelier.dev/"
	groupEnd     = "/registry/generation.atelier.dev0" // the first key behind all of them
	jobPrefix    = groupPrefix + "generationjobs/"
	runnerPrefix = groupPrefix + "runners/"
)

// watchMessage is one message of etcd's watch, as its JSON gateway sends it.
type watchMessage struct {
	Result struct {
		Events   []etcdEvent `json:"events"`
		Canceled bool        `json:"canceled"`
		Reason   string      `json:"cancel_reason"`
	} `json:"result"`
}

// etcdEvent is a change of one key. Bytes are base64, and a put has no type.
type etcdEvent struct {
	Type string `json:"type"`
	KV   struct {
		Key      []byte `json:"key"`
		Value    []byte `json:"value"`
		Revision string `json:"mod_revision"`
	} `json:"kv"`
}

// follow reads until ctx ends. An error is a ledger with gaps.
func (l *ledger) follow(ctx context.Context, etcd string) error {
	request, err := json.Marshal(map[string]any{"create_request": map[string]any{
		"key": []byte(groupPrefix), "range_end": []byte(groupEnd), "start_revision": "1",
	}})
	if err != nil {
		return err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, etcd+"/v3/watch", bytes.NewReader(request))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(post)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // nothing is written to it
	messages := json.NewDecoder(response.Body)
	for {
		var message watchMessage
		if err := messages.Decode(&message); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("etcd's watch ended: %w", err)
		}
		if message.Result.Canceled {
			return fmt.Errorf("etcd ended its watch: %s", message.Result.Reason)
		}
		for _, event := range message.Result.Events {
			if err := l.enter(event); err != nil {
				return err
			}
		}
	}
}

// enter books one event.
func (l *ledger) enter(event etcdEvent) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if l.revision, err = strconv.ParseInt(event.KV.Revision, 10, 64); err != nil {
		return fmt.Errorf("revision of %s: %w", event.KV.Key, err)
	}
	key, deleted := string(event.KV.Key), event.Type == "DELETE"
	switch {
	case strings.HasPrefix(key, runnerPrefix) && deleted:
		delete(l.bound, key)
	case strings.HasPrefix(key, runnerPrefix):
		var runner v1alpha1.Runner
		if err := json.Unmarshal(event.KV.Value, &runner); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		l.runner(key, &runner)
	case strings.HasPrefix(key, jobPrefix) && deleted:
		l.violation("%s was deleted by nobody", key)
	case strings.HasPrefix(key, jobPrefix):
		var job v1alpha1.GenerationJob
		if err := json.Unmarshal(event.KV.Value, &job); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		l.job(&job)
	}
	return nil
}

// runner books a Runner: a job is bound to one at a time.
func (l *ledger) runner(key string, runner *v1alpha1.Runner) {
	bound := map[types.UID]int32{}
	for _, a := range runner.Spec.Assignments {
		bound[a.UID] = a.Attempt
		for other, has := range l.bound {
			if _, twice := has[a.UID]; twice && other != key {
				l.violation("job %s is bound to %s and to %s", a.JobName, other, key)
			}
		}
		if before, ok := l.bound[key][a.UID]; !ok || before != a.Attempt {
			l.note(a.UID, "attempt %d bound to %s", a.Attempt, runner.Name)
		}
	}
	l.bound[key] = bound
}

// job books a job.
func (l *ledger) job(job *v1alpha1.GenerationJob) {
	account := l.jobs[job.UID]
	if account == nil {
		account = &jobAccount{}
		l.jobs[job.UID] = account
	}
	before := account.latest
	account.latest = *job
	account.writes++
	if before.Status.Phase != job.Status.Phase || before.Status.Attempt != job.Status.Attempt {
		l.note(job.UID, "%s, attempt %d, %d failures", job.Status.Phase, job.Status.Attempt, job.Status.Failures)
	}
	if committed(job) && !committed(&before) {
		if account.commits++; account.commits > 1 {
			l.violation("job %s was committed twice", job.Name)
		}
	}
	if committed(&before) && !slices.Equal(before.Status.Outputs, job.Status.Outputs) {
		l.violation("job %s: outputs changed after they were committed", job.Name)
	}
	if finished(&before) && before.Status.Phase != job.Status.Phase {
		l.violation("job %s was %s and is %s", job.Name, before.Status.Phase, job.Status.Phase)
	}
	if job.Status.Attempt < before.Status.Attempt {
		l.violation("job %s went from attempt %d to %d", job.Name, before.Status.Attempt, job.Status.Attempt)
	}
	if finished(job) {
		for key, has := range l.bound {
			if _, ok := has[job.UID]; ok {
				l.violation("job %s is %s and still bound to %s", job.Name, job.Status.Phase, key)
			}
		}
	}
}

func (l *ledger) note(uid types.UID, format string, args ...any) {
	account := l.jobs[uid]
	if account == nil {
		l.violation("job %s: %s before it was created", uid, fmt.Sprintf(format, args...))
		return
	}
	account.history = append(account.history, fmt.Sprintf("revision %d: ", l.revision)+fmt.Sprintf(format, args...))
}

func (l *ledger) violation(format string, args ...any) {
	l.violations = append(l.violations, fmt.Sprintf("revision %d: ", l.revision)+fmt.Sprintf(format, args...))
}

func committed(job *v1alpha1.GenerationJob) bool {
	for _, c := range job.Status.Conditions {
		if c.Type == v1alpha1.ConditionSuccessCriteriaMet && c.Status == "True" {
			return true
		}
	}
	return false
}

func finished(job *v1alpha1.GenerationJob) bool {
	switch job.Status.Phase {
	case v1alpha1.PhaseSucceeded, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled:
		return true
	}
	return false
}

// unfinished counts the jobs of a namespace that have not ended.
func (l *ledger) unfinished(namespace string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, account := range l.jobs {
		if account.latest.Namespace == namespace && !finished(&account.latest) {
			n++
		}
	}
	return n
}

// accounts are the jobs of a namespace as they stand, by name.
func (l *ledger) accounts(namespace string) map[string]jobAccount {
	l.mu.Lock()
	defer l.mu.Unlock()
	accounts := map[string]jobAccount{}
	for _, account := range l.jobs {
		if account.latest.Namespace == namespace {
			accounts[account.latest.Name] = *account
		}
	}
	return accounts
}

// broken is what happened that must not.
func (l *ledger) broken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.violations)
}
