// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/atelier-dev/atelier/internal/incluster"
	"github.com/atelier-dev/atelier/test/internal/child"
)

// startError is the exit code of a container whose program could not be started.
const startError = 128

// running is a container's process.
type running struct {
	process *child.Process
	command *exec.Cmd
	log     string
}

// configError says why a container can't be started as it is.
type configError struct {
	reason string
	err    error
}

func (e *configError) Error() string { return e.err.Error() }

func (e *configError) Unwrap() error { return e.err }

// runContainer runs a container, again and again where policy says so, until it has
// ended for good or the pod is to end.
func (w *podWorker) runContainer(container *corev1.Container, policy corev1.RestartPolicy) {
	count := restarts{backoff: w.node.config.Backoff}
	// A container that ran before the node was restarted may have ended for good.
	ended := w.status(container.Name).State.Terminated
	for {
		if ended == nil {
			ended = w.runOnce(container)
		}
		if ended == nil || w.shutdown.hasBegun() || !shouldRestart(policy, ended.ExitCode) {
			return
		}
		if !w.waitForRestart(container, count.delay(ended.FinishedAt.Sub(ended.StartedAt.Time))) {
			return
		}
		ended = nil
	}
}

// waitForRestart waits, visibly, before a container is started again. It returns false
// when the pod is to end.
func (w *podWorker) waitForRestart(container *corev1.Container, delay time.Duration) bool {
	if delay == 0 {
		return !w.shutdown.hasBegun()
	}
	message := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", delay, container.Name, w.pod.Name, w.pod.Namespace, w.pod.UID)
	w.event(corev1.EventTypeWarning, "BackOff", message)
	w.update(container.Name, func(s *corev1.ContainerStatus) {
		s.LastTerminationState = s.State
		s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: message}}
	})
	return w.shutdown.sleep(delay)
}

// runOnce runs a container once and returns how it ended, or nil when the pod is to end
// before it has started.
func (w *podWorker) runOnce(container *corev1.Container) *corev1.ContainerStateTerminated {
	command := w.commandWhenPossible(container)
	if command == nil || w.shutdown.hasBegun() {
		return nil
	}
	restart := w.nextRestart(container.Name)
	log := w.logPath(container.Name, restart)
	started := now()
	process, err := child.StartLogged(command, log)
	if err != nil {
		w.event(corev1.EventTypeWarning, "Failed", err.Error())
		return w.terminated(container, restart, corev1.ContainerStateTerminated{
			ExitCode: startError, Reason: "StartError", Message: err.Error(), StartedAt: started, FinishedAt: now(),
		})
	}
	w.setRunning(container, restart, &running{process: process, command: command, log: log}, started)
	w.watch(container, restart, process)
	code := process.ExitCode()
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	return w.terminated(container, restart, corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, StartedAt: started, FinishedAt: now(),
	})
}

// commandWhenPossible tries until the container's command can be put together. It
// returns nil when the pod is to end.
func (w *podWorker) commandWhenPossible(container *corev1.Container) *exec.Cmd {
	for {
		command, err := w.command(w.ctx, container)
		if err == nil {
			return command
		}
		reason := "CreateContainerConfigError"
		if config := new(configError); errors.As(err, &config) {
			reason = config.reason
		}
		w.event(corev1.EventTypeWarning, "Failed", err.Error())
		w.update(container.Name, func(s *corev1.ContainerStatus) {
			if s.State.Terminated != nil {
				s.LastTerminationState = s.State
			}
			s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: err.Error()}}
		})
		if !w.shutdown.sleep(setupRetry) {
			return nil
		}
	}
}

// watch waits for the end of a process. It ends it when the pod is to end and when the
// container's probes say so.
func (w *podWorker) watch(container *corev1.Container, restart int32, process *child.Process) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	unhealthy := make(chan error, 1)
	go func() {
		if err := w.prober(container, restart).run(ctx, container); err != nil {
			unhealthy <- err
		}
	}()
	select {
	case <-process.Done():
		return
	case <-w.shutdown.begun:
		w.event(corev1.EventTypeNormal, "Killing", "Stopping container "+container.Name)
		process.Signal(syscall.SIGTERM)
	case err := <-unhealthy:
		w.event(corev1.EventTypeNormal, "Killing", fmt.Sprintf("Container %s %v, will be restarted", container.Name, err))
		process.Signal(syscall.SIGTERM)
		w.endWithin(process, w.gracePeriod())
		return
	}
	select {
	case <-process.Done():
	case <-w.shutdown.over:
		process.Kill()
	}
}

// endWithin waits for a process that was asked to end, and kills it when it takes longer
// than grace or than the pod has.
func (w *podWorker) endWithin(process *child.Process, grace time.Duration) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-process.Done():
	case <-timer.C:
		process.Kill()
	case <-w.shutdown.over:
		process.Kill()
	}
}

func (w *podWorker) gracePeriod() time.Duration {
	if grace := w.pod.Spec.TerminationGracePeriodSeconds; grace != nil {
		return time.Duration(*grace) * time.Second
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

// prober asks the container's process how it is. Answers that come after its end, or
// after the container's next start, are nobody's.
func (w *podWorker) prober(container *corev1.Container, restart int32) *prober {
	id := containerID(w.pod, container.Name, restart)
	answer := func(change func(*corev1.ContainerStatus)) {
		w.update(container.Name, func(s *corev1.ContainerStatus) {
			if s.State.Running != nil && s.ContainerID == id {
				change(s)
			}
		})
	}
	yes := true
	return &prober{
		port: func(port intstr.IntOrString) (int, error) { return w.hostPort(container, port) },
		exec: func(ctx context.Context, command []string) error {
			return w.execute(ctx, container.Name, command, nil, nil, nil)
		},
		started: func() { answer(func(s *corev1.ContainerStatus) { s.Started = &yes }) },
		ready:   func(ready bool) { answer(func(s *corev1.ContainerStatus) { s.Ready = ready }) },
		failed: func(kind string, err error) {
			w.event(corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: %v", kind, err))
		},
	}
}

// nextRestart is the number of the container's next start, from 0.
func (w *podWorker) nextRestart(container string) int32 {
	status := w.status(container)
	if status.ContainerID == "" {
		return 0
	}
	return status.RestartCount + 1
}

func (w *podWorker) setRunning(container *corev1.Container, restart int32, r *running, started metav1.Time) {
	w.mu.Lock()
	w.processes[container.Name] = r
	w.mu.Unlock()
	w.event(corev1.EventTypeNormal, "Started", "Container started as process "+strconv.Itoa(r.process.PID()))
	w.update(container.Name, func(s *corev1.ContainerStatus) {
		if s.State.Terminated != nil {
			s.LastTerminationState = s.State
		}
		s.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}
		s.RestartCount = restart
		s.ContainerID = containerID(w.pod, container.Name, restart)
		s.ImageID = container.Image
		s.Ready, s.Started = false, new(bool)
	})
}

func (w *podWorker) terminated(container *corev1.Container, restart int32, state corev1.ContainerStateTerminated) *corev1.ContainerStateTerminated {
	state.ContainerID = containerID(w.pod, container.Name, restart)
	w.update(container.Name, func(s *corev1.ContainerStatus) {
		if s.State.Terminated != nil {
			s.LastTerminationState = s.State
		}
		s.State = corev1.ContainerState{Terminated: &state}
		s.RestartCount = restart
		s.ContainerID = state.ContainerID
		s.Ready, s.Started = false, new(bool)
	})
	return &state
}

// containerID is unique to one start of a container.
func containerID(pod *corev1.Pod, container string, restart int32) string {
	return fmt.Sprintf("process://%s/%s/%d", pod.UID, container, restart)
}

// command puts together what starts a container.
func (w *podWorker) command(ctx context.Context, container *corev1.Container) (*exec.Cmd, error) {
	image, ok := findImage(w.node.config.Images, container.Image)
	if !ok {
		err := fmt.Errorf("image %q is not on this node, which has: %s", container.Image, imageNames(w.node.config.Images))
		return nil, &configError{reason: "ErrImageNeverPull", err: err}
	}
	env, err := environment(ctx, w.node.client, w.pod, container)
	if err != nil {
		return nil, err
	}
	mounts, err := w.mounts(container, env)
	if err != nil {
		return nil, err
	}
	rewrite := newRewriter(mounts, w.ports)
	argv := image.argv(container.Command, container.Args, func(word string) string { return rewrite.rewrite(expand(word, env)) })
	if len(argv) == 0 {
		return nil, fmt.Errorf("image %q has no entrypoint, so that the container needs a command", container.Image)
	}
	scratch := filepath.Join(w.dir, "tmp", container.Name)
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return nil, err
	}
	command := exec.Command(argv[0], argv[1:]...)
	command.Dir = scratch
	if container.WorkingDir != "" {
		command.Dir = rewrite.hostPath(container.WorkingDir)
	}
	command.Env = slices.Concat(w.nodeEnv(rewrite, scratch), image.Env, assignments(env, rewrite))
	return command, os.MkdirAll(filepath.Dir(w.logPath(container.Name, 0)), 0o755)
}

// nodeEnv is the environment that every container on this node gets.
func (w *podWorker) nodeEnv(rewrite rewriter, scratch string) []string {
	gpus := make([]string, len(w.gpus))
	for i, gpu := range w.gpus {
		gpus[i] = strconv.Itoa(gpu)
	}
	visible := strings.Join(gpus, ",")
	temporary := rewrite.hostPath("/tmp")
	if temporary == "/tmp" {
		temporary = scratch
	}
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + scratch,
		"TMPDIR=" + temporary,
		"HOSTNAME=" + w.pod.Name,
		"KUBERNETES_SERVICE_HOST=" + w.node.config.APIServerHost,
		"KUBERNETES_SERVICE_PORT=" + w.node.config.APIServerPort,
		// Where a device plugin would give the container its GPUs alone.
		"CUDA_VISIBLE_DEVICES=" + visible,
		"NVIDIA_VISIBLE_DEVICES=" + visible,
		incluster.DirectoryEnv + "=" + rewrite.hostPath(incluster.DefaultDirectory),
	}
}

// mounts are the container's mount paths and where they are on the host.
func (w *podWorker) mounts(container *corev1.Container, env map[string]string) ([]mount, error) {
	var mounts []mount
	for _, m := range container.VolumeMounts {
		host, ok := w.volumes[m.Name]
		if !ok {
			return nil, fmt.Errorf("volumeMount %q: the pod has no such volume", m.Name)
		}
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = expand(m.SubPathExpr, env)
		}
		if sub != "" {
			if !filepath.IsLocal(sub) {
				return nil, fmt.Errorf("volumeMount %q: subPath %q leaves the volume", m.Name, sub)
			}
			host = filepath.Join(host, sub)
			if _, err := os.Stat(host); os.IsNotExist(err) {
				if err := os.MkdirAll(host, 0o755); err != nil {
					return nil, err
				}
			}
		}
		mounts = append(mounts, mount{container: strings.TrimSuffix(m.MountPath, "/"), host: host})
	}
	return mounts, nil
}

func (w *podWorker) logPath(container string, restart int32) string {
	return filepath.Join(w.dir, "logs", container, strconv.Itoa(int(restart))+".log")
}

// assignments is env as NAME=value, in a fixed order.
func assignments(env map[string]string, rewrite rewriter) []string {
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+rewrite.rewrite(env[name]))
	}
	return out
}
