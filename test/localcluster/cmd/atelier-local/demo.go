// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/test/internal/repository"
)

// demoOptions are what a person may change about the demo's job. Empty means as in the
// sample.
type demoOptions struct {
	prompt, seed, steps string
	timeout             time.Duration
}

func newDemoCommand() *cobra.Command {
	var o demoOptions
	command := &cobra.Command{
		Use:   "demo",
		Short: "Start a cluster with Atelier, draw one picture, and stop it",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return demo(command.Context(), o) },
	}
	flags := command.Flags()
	flags.StringVar(&o.prompt, "prompt", os.Getenv("PROMPT"), "what to draw (default $PROMPT, else that of the sample)")
	flags.StringVar(&o.seed, "seed", os.Getenv("SEED"), "seed of the noise (default $SEED, else that of the sample; with a prompt of one's own a random one)")
	flags.StringVar(&o.steps, "steps", os.Getenv("STEPS"), "number of denoising steps (default $STEPS, else the model's)")
	flags.DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long the job may take")
	return command
}

// demo draws one picture on a cluster of its own.
func demo(ctx context.Context, o demoOptions) error {
	out := newConsole(os.Stdout)
	root, err := repository.Root()
	if err != nil {
		return err
	}
	job, err := demoJob(filepath.Join(root, jobSample), o)
	if err != nil {
		return err
	}
	s, err := startSession(ctx, out, 1)
	if err != nil {
		return err
	}
	err = s.draw(ctx, job, o.timeout)
	if err != nil && ctx.Err() == nil {
		s.explain()
	}
	if err := errors.Join(err, s.stop()); err != nil {
		return err
	}
	out.section("done in " + seconds(time.Since(out.begun)))
	return nil
}

// draw applies the model, the pool and the job, and shows the job to its end.
func (s *session) draw(ctx context.Context, job *v1alpha1.GenerationJob, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the job took more than %s", timeout))
	defer cancel()
	s.out.section("model, pool and job")
	for _, file := range []string{modelSample, poolSample} {
		if err := s.applySample(ctx, file); err != nil {
			return err
		}
	}
	manifest, err := jobManifest(job)
	if err != nil {
		return err
	}
	if err := s.apply(ctx, "job.yaml", manifest); err != nil {
		return err
	}
	s.out.section("the job")
	begin := time.Now()
	err = s.watch(ctx, job.Name)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	return s.report(ctx, job.Name, time.Since(begin))
}

// watch shows the job as kubectl does until it has ended.
func (s *session) watch(ctx context.Context, name string) error {
	args := []string{"get", "generationjobs", "-n", namespace, "--watch"}
	s.out.command("kubectl get generationjobs --watch")
	cmd := s.cluster.KubectlCommand(ctx, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ctrl-c is for us to handle
	cmd.Stderr = s.out
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Wait() }() // it is killed, which is no error
	defer func() { _ = cmd.Process.Kill() }()
	return showUntilEnd(s.out, stdout, name)
}

// showUntilEnd copies lines until one says that the job of that name has ended.
func showUntilEnd(out io.Writer, lines io.Reader, name string) error {
	scanner := bufio.NewScanner(lines)
	for scanner.Scan() {
		if _, err := fmt.Fprintln(out, scanner.Text()); err != nil {
			return err
		}
		// NAME MODEL PHASE PROGRESS ...
		cells := strings.Fields(scanner.Text())
		if len(cells) > 2 && cells[0] == name && (cells[2] == string(v1alpha1.PhaseSucceeded) || cells[2] == string(v1alpha1.PhaseFailed)) {
			return nil
		}
	}
	return errors.Join(errors.New("kubectl stopped watching before the job had ended"), scanner.Err())
}

// report shows how the job ended and keeps its pictures. A failed job is an error.
func (s *session) report(ctx context.Context, name string, took time.Duration) error {
	reader, err := s.reader()
	if err != nil {
		return err
	}
	var job v1alpha1.GenerationJob
	if err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &job); err != nil {
		return err
	}
	s.out.section("conditions")
	s.out.table(conditionRows(job.Status.Conditions))
	if job.Status.Phase == v1alpha1.PhaseFailed {
		return fmt.Errorf("job %s failed", name)
	}
	s.out.section("result")
	s.out.fact("job", "%s after %s, attempt %d", job.Status.Phase, seconds(took), job.Status.Attempt)
	if err := s.reportRunner(ctx, reader, job.Status.Runner); err != nil {
		return err
	}
	for _, output := range job.Status.Outputs {
		if err := s.keep(&job, output); err != nil {
			return err
		}
	}
	return nil
}

// reportRunner shows what the job's runner says of itself.
func (s *session) reportRunner(ctx context.Context, reader client.Reader, binding *v1alpha1.RunnerBinding) error {
	if binding == nil {
		return errors.New("the job names no runner")
	}
	var runner v1alpha1.Runner
	if err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: binding.Name}, &runner); err != nil {
		return err
	}
	if start, ready := runner.Status.StartTime, runner.Status.ReadyTime; start != nil && ready != nil {
		s.out.fact("runner "+runner.Name, "ready %s after its process started", seconds(ready.Sub(start.Time)))
	}
	if model := runner.Status.Model; model != nil && model.LoadDuration != nil {
		took, err := model.LoadDuration.Parse()
		if err != nil {
			return fmt.Errorf("status.model.loadDuration of the runner: %w", err)
		}
		s.out.fact("model "+model.Name, "loaded in %s, when the job asked for it", seconds(took))
	}
	if device := runner.Status.Device; device != nil {
		s.out.fact("device", "%s: %s", device.Type, device.Message)
	}
	return nil
}

// keep copies a picture out of the cluster's volume, which ends with the cluster.
func (s *session) keep(job *v1alpha1.GenerationJob, output v1alpha1.Output) error {
	data, err := os.ReadFile(filepath.Join(s.outputs, output.Path))
	if err != nil {
		return fmt.Errorf("picture %d: %w", output.Index, err)
	}
	name := job.Name
	if output.Index > 0 {
		name += "-" + strconv.Itoa(int(output.Index))
	}
	path := filepath.Join(s.root, outputFolder, name+".png")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return err
	}
	s.out.fact("picture", "%s (%d x %d, seed %d)", s.out.coloured(bold, path), output.Width, output.Height, output.Seed)
	return nil
}

func (s *session) reader() (client.Reader, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return client.New(s.cluster.Config(), client.Options{Scheme: scheme})
}

func conditionRows(conditions []metav1.Condition) [][]string {
	rows := make([][]string, 0, 1+len(conditions))
	rows = append(rows, []string{"TYPE", "STATUS", "REASON", "MESSAGE"})
	for _, c := range conditions {
		rows = append(rows, []string{c.Type, string(c.Status), c.Reason, c.Message})
	}
	return rows
}

// demoJob is the sample with what the person asked for in place of what it says.
func demoJob(sample string, o demoOptions) (*v1alpha1.GenerationJob, error) {
	data, err := os.ReadFile(sample)
	if err != nil {
		return nil, err
	}
	var job v1alpha1.GenerationJob
	if err := yaml.UnmarshalStrict(data, &job); err != nil {
		return nil, fmt.Errorf("%s: %w", sample, err)
	}
	if o.prompt != "" {
		job.Name, job.Spec.Prompt, job.Spec.Seed = slug(o.prompt), o.prompt, nil
	}
	if o.seed != "" {
		seed, err := strconv.ParseInt(o.seed, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("SEED=%q is not a whole number, such as 42", o.seed)
		}
		job.Spec.Seed = &seed
	}
	if o.steps != "" {
		steps, err := strconv.ParseInt(o.steps, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("STEPS=%q is not a whole number, such as 20", o.steps)
		}
		job.Spec.Steps = new(int32)
		*job.Spec.Steps = int32(steps)
	}
	return &job, nil
}

// jobManifest is the job as a person writes it: without a status.
func jobManifest(job *v1alpha1.GenerationJob) (string, error) {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(job)
	if err != nil {
		return "", err
	}
	delete(object, "status")
	data, err := yaml.Marshal(object)
	return string(data), err
}

// maxSlug keeps names readable.
const maxSlug = 40

var notInSlug = regexp.MustCompile(`[^a-z0-9]+`)

// slug makes the name of an object from a prompt.
func slug(prompt string) string {
	s := strings.Trim(notInSlug.ReplaceAllString(strings.ToLower(prompt), "-"), "-")
	s = strings.Trim(s[:min(len(s), maxSlug)], "-")
	if s == "" {
		return "demo"
	}
	return s
}
