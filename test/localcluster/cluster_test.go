// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package localcluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"

	"github.com/atelier-dev/atelier/test/internal/child"
	"github.com/atelier-dev/atelier/test/internal/repository"
)

// childCommand makes the test binary start a cluster and wait to be killed.
const childCommand = "start-cluster-and-wait"

// started is what that process prints.
type started struct {
	Dir  string
	PIDs []int
}

// runChild starts a cluster with a pod, says what runs, and waits.
func runChild() {
	c, err := Start(context.Background(), Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	pids, err := allPIDs(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, errors.Join(err, c.Stop()))
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(started{Dir: c.Dir(), PIDs: pids})
	select {}
}

// allPIDs runs a pod and returns the process ids of the components and of the pod.
func allPIDs(c *Cluster) ([]int, error) {
	manifest := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"default"},"spec":{"containers":[
		{"name":"main","image":"shell","command":["/bin/sh","-c","trap '' TERM; echo $$$$; while :; do sleep 0.1; done"]}]}}`
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := c.KubectlInput(ctx, manifest, "apply", "-f", "-"); err != nil {
		return nil, err
	}
	if _, err := c.KubectlOutput(ctx, "wait", "--for=condition=Ready", "pod/p"); err != nil {
		return nil, err
	}
	out, err := c.KubectlOutput(ctx, "logs", "p")
	if err != nil {
		return nil, err
	}
	var pid int
	if err := json.Unmarshal([]byte(out), &pid); err != nil {
		return nil, fmt.Errorf("the pod printed %q, not its process id: %w", out, err)
	}
	pids := []int{pid}
	for _, component := range c.plane.processes {
		pids = append(pids, component.process.PID())
	}
	return pids, nil
}

func TestStopLeavesNothing(t *testing.T) {
	g := NewWithT(t)
	c, err := Start(t.Context(), Options{})
	g.Expect(err).NotTo(HaveOccurred())
	t.Logf("control plane %s, node %s", c.StartTimes.ControlPlane.Round(time.Millisecond), c.StartTimes.Nodes.Round(time.Millisecond))
	pids, err := allPIDs(c)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(pids).To(HaveLen(5))
	g.Expect(pids).To(HaveEach(Satisfy(child.Alive)))
	begin := time.Now()
	g.Expect(c.Stop()).To(Succeed())
	t.Logf("stopped in %s", time.Since(begin).Round(time.Millisecond))
	g.Expect(pids).To(HaveEach(Not(Satisfy(child.Alive))))
	g.Expect(c.Dir()).NotTo(BeADirectory())
}

func TestAPIServerComesBackWithWhatItHad(t *testing.T) {
	g := NewWithT(t)
	c, err := Start(t.Context(), Options{})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(c.Stop()).To(Succeed()) })
	before, err := allPIDs(c)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(c.RunningPods()).To(ConsistOf(HaveField("Name", "p")))

	begin := time.Now()
	g.Expect(c.RestartAPIServer(t.Context(), 100*time.Millisecond)).To(Succeed())
	t.Logf("restarted in %s", time.Since(begin).Round(time.Millisecond))
	after, err := allPIDs(c)
	g.Expect(err).NotTo(HaveOccurred())
	gone := slices.DeleteFunc(before, func(pid int) bool { return slices.Contains(after, pid) })
	g.Expect(gone).To(HaveLen(1), "the pod and the other components run on")
	g.Expect(child.Alive(gone[0])).To(BeFalse())
}

func TestNothingOutlivesAKilledParent(t *testing.T) {
	g := NewWithT(t)
	cmd := exec.Command(os.Args[0], childCommand)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(cmd.Start()).To(Succeed())
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	g.Expect(err).NotTo(HaveOccurred())
	var c started
	g.Expect(json.Unmarshal(line, &c)).To(Succeed())
	t.Cleanup(func() { _ = os.RemoveAll(c.Dir) })
	g.Expect(c.PIDs).To(HaveEach(Satisfy(child.Alive)))

	g.Expect(cmd.Process.Kill()).To(Succeed())
	_ = cmd.Wait()
	g.Eventually(c.PIDs, 10*time.Second).Should(HaveEach(Not(Satisfy(child.Alive))))
}

func TestFailedComponentIsNamedWithItsLog(t *testing.T) {
	g := NewWithT(t)
	_, err := Start(t.Context(), Options{ExtraArgs: ExtraArgs{APIServer: []string{"--no-such-flag"}}})
	g.Expect(err).To(MatchError(And(ContainSubstring("kube-apiserver ended with code 1"), ContainSubstring("no-such-flag"))))
}

func TestMissingBinariesAreNamed(t *testing.T) {
	g := NewWithT(t)
	t.Setenv(assetsEnv, t.TempDir())
	root := t.TempDir()
	_, err := findBinaries(root)
	g.Expect(err).To(MatchError(And(
		HavePrefix("no etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl in "),
		ContainSubstring(os.Getenv(assetsEnv)), ContainSubstring(root), ContainSubstring("make controlplane"),
	)))
}

func TestBinariesAreTakenFromTheAssetsFirst(t *testing.T) {
	g := NewWithT(t)
	root, err := repository.Root()
	g.Expect(err).NotTo(HaveOccurred())
	assets := t.TempDir()
	t.Setenv(assetsEnv, assets)
	g.Expect(os.WriteFile(assets+"/etcd", nil, 0o700)).To(Succeed())
	found, err := findBinaries(root)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(found.etcd).To(Equal(assets + "/etcd"))
	g.Expect(found.scheduler).To(HavePrefix(root))
}

// httpClient reaches servers with the identity of config, and trusts any certificate.
func httpClient(t *testing.T, config *rest.Config) *http.Client {
	t.Helper()
	config.CAData, config.Insecure = nil, true
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
