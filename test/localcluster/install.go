// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package localcluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// installTimeout bounds how long Deployments may take to become Available.
const installTimeout = 2 * time.Minute

// Install applies a kustomize directory of the repository, such as config/default, as
// its administrator does on a real cluster, and waits until every Deployment is Available.
func (c *Cluster) Install(ctx context.Context, directory string) error {
	return c.install(ctx, "-k", directory)
}

// InstallFile is Install with a manifest, such as dist/install.yaml.
func (c *Cluster) InstallFile(ctx context.Context, manifest string) error {
	return c.install(ctx, "-f", manifest)
}

func (c *Cluster) install(ctx context.Context, flag, path string) error {
	if _, err := c.KubectlOutput(ctx, "apply", "--server-side", flag, filepath.Join(c.options.Root, path)); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	var waiting []string
	err = wait.PollUntilContextTimeout(ctx, readinessPeriod, installTimeout, true, func(ctx context.Context) (bool, error) {
		deployments, err := client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		waiting = unavailable(deployments.Items)
		return len(waiting) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("%s is installed, but %s is not Available: %w", path, strings.Join(waiting, ", "), err)
	}
	return nil
}

// unavailable names the Deployments that do not have all their pods ready.
func unavailable(deployments []appsv1.Deployment) []string {
	var names []string
	for _, d := range deployments {
		available := false
		for _, condition := range d.Status.Conditions {
			available = available || condition.Type == appsv1.DeploymentAvailable && condition.Status == corev1.ConditionTrue
		}
		if !available || d.Status.ObservedGeneration < d.Generation {
			names = append(names, "deployment "+d.Namespace+"/"+d.Name)
		}
	}
	return names
}

// KubectlCommand is a kubectl command line against the cluster, to be run by the caller.
func (c *Cluster) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Kubectl(), args...)
	// Its cache would otherwise be left in the user's home.
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig(), "KUBECACHEDIR="+filepath.Join(c.dir, "kubectl"))
	return cmd
}

// KubectlOutput runs kubectl and returns what it printed on both streams, warnings
// included. The error of a failure has it too.
func (c *Cluster) KubectlOutput(ctx context.Context, args ...string) (string, error) {
	return c.KubectlInput(ctx, "", args...)
}

// KubectlInput is KubectlOutput with something to read, as in `kubectl apply -f -`.
func (c *Cluster) KubectlInput(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := c.KubectlCommand(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return output.String(), fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, output.String())
	}
	return output.String(), nil
}

// Tail is the last lines of a file, for messages. It is empty when there is no such file.
func Tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
