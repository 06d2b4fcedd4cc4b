// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/atelier-dev/atelier/test/localcluster"
)

// What a storm kills.
const (
	killRunner    = "runner"
	killManager   = "manager"
	killNode      = "node"
	killAPIServer = "API server"
)

// round is what a storm kills, in a random order, before it begins anew.
var round = []string{
	killRunner, killRunner, killRunner, killRunner, killRunner, killRunner,
	killManager, killNode, killAPIServer,
}

// meanPause is the mean time between two kills. Without a manager nothing goes on until its
// lease has run out, which takes 12 seconds, and an API server takes several to start: were
// they killed much more often, nothing would run that a storm could disturb.
const meanPause = 6 * time.Second

// longestOutage is how long a node or an API server is gone at most, before it is
// started again.
const longestOutage = 3 * time.Second

// storm kills processes of a cluster at random, with SIGKILL, and starts again what no
// kubelet does. What it does follows from its seed; when a process is there to be killed
// does not.
type storm struct {
	cluster *localcluster.Cluster
	nodes   []localcluster.NodeOptions
	random  *rand.Rand
	begin   time.Time

	group sync.WaitGroup // of what is being started again

	mu      sync.Mutex
	gone    map[string]bool // by name: what is being started again
	kills   map[string]int
	history []string
}

func newStorm(cluster *localcluster.Cluster, nodes []localcluster.NodeOptions, seed uint64) *storm {
	return &storm{
		cluster: cluster, nodes: nodes, random: rand.New(rand.NewPCG(seed, 0)), begin: time.Now(),
		gone: map[string]bool{}, kills: map[string]int{},
	}
}

// rage kills until ctx ends, and returns when all is started again. The error says what
// could not be.
func (s *storm) rage(ctx context.Context) error {
	failed := make(chan error, 1)
	defer s.group.Wait()
	for {
		for _, i := range s.random.Perm(len(round)) {
			pause := time.Duration((0.25 + 1.5*s.random.Float64()) * float64(meanPause))
			select {
			case <-ctx.Done():
				return nil
			case err := <-failed:
				return err
			case <-time.After(pause):
			}
			s.kill(round[i], failed)
		}
	}
}

// kill kills a process of that kind. Nothing happens where none is there. It always draws
// the same number of random numbers, so that a seed stands for one sequence.
func (s *storm) kill(kind string, failed chan<- error) {
	choice, outage := s.random.IntN(1<<30), time.Duration(s.random.Float64()*float64(longestOutage))
	switch kind {
	case killNode:
		node := s.nodes[choice%len(s.nodes)]
		s.restart(kind, node.Name, failed, func(ctx context.Context) error { return s.powerCut(ctx, node, outage) })
	case killAPIServer:
		s.restart(kind, kind, failed, func(ctx context.Context) error { return s.cluster.RestartAPIServer(ctx, outage) })
	default:
		s.killContainer(kind, choice)
	}
}

// killContainer kills one of the processes that a container of that name has.
func (s *storm) killContainer(name string, choice int) {
	var pods []*corev1.Pod
	for _, pod := range s.cluster.RunningPods() {
		if pod.Spec.Containers[0].Name == name {
			pods = append(pods, pod)
		}
	}
	if len(pods) == 0 {
		return
	}
	pod := pods[choice%len(pods)]
	if s.cluster.KillContainer(pod, name) == nil { // else it ended by itself meanwhile
		s.note(name, pod.Namespace+"/"+pod.Name+" on "+pod.Spec.NodeName)
	}
}

// restart kills something and starts it again in the background, unless that is being
// done already.
func (s *storm) restart(kind, name string, failed chan<- error, restart func(context.Context) error) {
	s.mu.Lock()
	gone := s.gone[name]
	s.gone[name] = true
	s.mu.Unlock()
	if gone {
		return
	}
	s.note(kind, name)
	s.group.Go(func() {
		// Not bounded by the storm: what was killed is started again also when it is over.
		err := restart(context.Background())
		s.mu.Lock()
		s.gone[name] = false
		s.mu.Unlock()
		if err != nil {
			select {
			case failed <- fmt.Errorf("%s %s did not come back: %w", kind, name, err):
			default:
			}
		}
	})
}

// powerCut ends a node with all its processes. It comes back as soon as an API server is
// there to register with.
func (s *storm) powerCut(ctx context.Context, node localcluster.NodeOptions, outage time.Duration) error {
	if err := s.cluster.StopNode(node.Name); err != nil {
		return err
	}
	<-time.After(outage)
	var last error
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		try, done := context.WithTimeout(ctx, 10*time.Second)
		defer done()
		last = s.cluster.StartNode(try, node)
		return last == nil, nil
	})
	return errors.Join(err, last)
}

func (s *storm) note(kind, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kills[kind]++
	s.history = append(s.history, fmt.Sprintf("%8.3f s: %s %s", time.Since(s.begin).Seconds(), kind, what))
}

// total is how many kills there were.
func (s *storm) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, kills := range s.kills {
		n += kills
	}
	return n
}
