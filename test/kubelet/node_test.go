// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/atelier-dev/atelier/test/internal/child"
	"github.com/atelier-dev/atelier/test/localcluster"
)

const (
	nodeName         = "node-1"
	containerdSocket = "/run/containerd/containerd.sock"
	// startTimeout of the node's programs, on a machine that is busy.
	startTimeout = 2 * time.Minute
	pollPeriod   = 100 * time.Millisecond
)

// containerdConfig has containerd use runc, the sandbox's network and its pause image.
const containerdConfig = `
version = 3
root = "%[1]s/containerd"
state = "/run/containerd"
[grpc]
  address = "` + containerdSocket + `"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "` + pauseImage + `"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["%[2]s/cni"]
    conf_dir = "%[1]s/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "%[2]s/runc"
      SystemdCgroup = false
`

const cniConfig = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": false,
	"ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "` + podSubnet + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}`

// kubeletConfig leaves out what would change the whole machine. Evictions are for the tests
// to ask for: the disk may be as full as it is.
const kubeletConfig = `
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://` + containerdSocket + `
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
maxOpenFiles: 20000
oomScoreAdj: 0
podLogsDir: /var/log/pods
resolvConf: ""
imageMaximumGCAge: 0s
volumeStatsAggPeriod: 1s
evictionHard: {memory.available: 1Mi, nodefs.available: 1%%, imagefs.available: 1%%}
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %[1]s/` + localcluster.ClientCA + `}}
authorization: {mode: Webhook}
tlsCertFile: %[1]s/` + localcluster.KubeletCertificate + `
tlsPrivateKeyFile: %[1]s/` + localcluster.KubeletKey + `
`

// node is a kubelet with its container runtime, and the GPUs it says it has.
type node struct {
	cluster *localcluster.Cluster
	// dir has its files, binaries its programs.
	dir, binaries string
	containerd    *child.Process
	kubelet       *child.Process
	gpus          *gpus
}

// newNode writes the files of a node that does not run yet.
func newNode(cluster *localcluster.Cluster, dir, binaries string) (*node, error) {
	n := &node{cluster: cluster, dir: filepath.Join(dir, nodeName), binaries: binaries, gpus: &gpus{}}
	if err := os.MkdirAll(filepath.Join(n.dir, "cni"), 0o755); err != nil {
		return nil, err
	}
	for file, content := range map[string]string{
		"containerd.toml":   fmt.Sprintf(containerdConfig, n.dir, binaries),
		"cni/pods.conflist": cniConfig,
		"kubelet.yaml":      fmt.Sprintf(kubeletConfig, n.dir),
	} {
		if err := os.WriteFile(filepath.Join(n.dir, file), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	return n, cluster.WriteKubeletFiles(n.dir, nodeName, net.ParseIP(nodeAddress))
}

// start starts the programs, and returns when the node is ready and has its GPUs.
func (n *node) start(ctx context.Context) error {
	var err error
	if n.containerd, err = n.run("containerd", "-c", filepath.Join(n.dir, "containerd.toml")); err != nil {
		return err
	}
	if err := n.await(ctx, "containerd", func() error { return n.ctr("version") }); err != nil {
		return err
	}
	if err := os.MkdirAll("/var/lib/kubelet/device-plugins", 0o750); err != nil {
		return err
	}
	n.kubelet, err = n.run("kubelet", "--config="+filepath.Join(n.dir, "kubelet.yaml"),
		"--kubeconfig="+filepath.Join(n.dir, localcluster.KubeletKubeconfig),
		"--hostname-override="+nodeName, "--node-ip="+nodeAddress, "--v=2")
	if err != nil {
		return err
	}
	if err := n.await(ctx, "device plugin", func() error { return n.gpus.register(ctx) }); err != nil {
		return err
	}
	return n.await(ctx, "node", func() error { return n.ready(ctx) })
}

// ready asks the API server whether the node is, and says how many GPUs it has.
func (n *node) ready(ctx context.Context) error {
	out, err := n.cluster.KubectlOutput(ctx, "get", "node", nodeName, "-o",
		`jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.allocatable.nvidia\.com/gpu}`)
	if err == nil && out != fmt.Sprintf("True %d", gpuCount) {
		err = fmt.Errorf("ready and GPUs: %q", out)
	}
	return err
}

// powerOff ends the programs and all containers at once.
func (n *node) powerOff() {
	n.kubelet.Kill()
	n.containerd.Kill()
	for _, pid := range containerProcesses() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // one that has ended is as good
	}
}

// run starts one of the node's programs with its log beside the other files.
func (n *node) run(name string, args ...string) (*child.Process, error) {
	cmd := exec.Command(filepath.Join(n.binaries, name), args...)
	cmd.Env = append(os.Environ(), "PATH="+n.binaries+":"+os.Getenv("PATH"))
	return child.StartLogged(cmd, filepath.Join(n.dir, name+".log"))
}

// await asks again and again. Its error has the ends of the logs.
func (n *node) await(ctx context.Context, what string, ask func() error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, pollPeriod, startTimeout, true, func(context.Context) (bool, error) {
		last = ask()
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w: %w\n%s\n%s", what, err, last,
			localcluster.Tail(filepath.Join(n.dir, "containerd.log"), 20), localcluster.Tail(filepath.Join(n.dir, "kubelet.log"), 20))
	}
	return nil
}

// ctr runs containerd's client, in the namespace of Kubernetes' containers.
func (n *node) ctr(args ...string) error {
	cmd := exec.Command(filepath.Join(n.binaries, "ctr"), append([]string{"--address", containerdSocket, "--namespace", "k8s.io"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// importImages makes the images and hands them to containerd.
func (n *node) importImages(root string) error {
	all, err := images(root, filepath.Join(n.binaries, "pause"))
	if err != nil {
		return err
	}
	for _, i := range all {
		file := filepath.Join(n.dir, "image.tar")
		if err := i.write(file); err != nil {
			return err
		}
		if err := n.ctr("image", "import", "--digests=false", file); err != nil {
			return err
		}
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

// containerProcesses are the processes in the cgroups of pods, and the shims that watch them.
func containerProcesses() (pids []int) {
	directories, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, dir := range directories {
		pid, _ := strconv.Atoi(filepath.Base(dir)) // the pattern again
		groups, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if bytes.Contains(groups, []byte("/kubepods/")) || bytes.Contains(command, []byte("containerd-shim-runc-v2")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// processOf is the process of a container whose id the pod's status has.
func processOf(containerID string) (int, error) {
	_, id, _ := strings.Cut(containerID, "://")
	content, err := os.ReadFile(filepath.Join("/run/containerd/io.containerd.runtime.v2.task/k8s.io", id, "init.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(content))
}

// statusOf is a process as /proc describes it, by the names of the lines.
func statusOf(pid int) (map[string]string, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	status := map[string]string{}
	for line := range strings.Lines(string(content)) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.TrimSpace(value)
	}
	return status, err
}

// mountsOf are the options of a process's mounts, by their targets.
func mountsOf(pid int) (map[string][]string, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", pid))
	mounts := map[string][]string{}
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) > 3 {
			mounts[fields[1]] = strings.Split(fields[3], ",")
		}
	}
	return mounts, err
}
