// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package localcluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/atelier-dev/atelier/test/internal/child"
	"github.com/atelier-dev/atelier/test/internal/ports"
)

// How often a component is asked whether it is ready, and for how long. A machine that
// is busy with other work takes several times the usual 4 seconds.
const (
	readinessPeriod  = 50 * time.Millisecond
	readinessTimeout = 2 * time.Minute
)

// killSignal can't be ignored.
const killSignal = syscall.SIGKILL

// apiServer is the name of the one component that is started again by its name.
const apiServer = "kube-apiserver"

// serviceRange is where Services get their addresses from. Nothing routes them here.
const serviceRange = "10.0.0.0/24"

// ServiceAddress is the first of the range: that of the Service "kubernetes", which is the
// API server for pods. Its certificate names it.
const ServiceAddress = "10.0.0.1"

// Identities that the API server's authorizers know.
const (
	adminUser             = "atelier-local-admin"
	adminGroup            = "system:masters"
	controllerManagerUser = "system:kube-controller-manager"
	schedulerUser         = "system:kube-scheduler"
	// KubeletClientUser is the API server when it asks a node for logs.
	KubeletClientUser = "kube-apiserver-kubelet-client"
)

// controlPlane is etcd and the three Kubernetes components as child processes.
type controlPlane struct {
	dir       string
	binaries  binaries
	extra     ExtraArgs
	ports     ports.Pool
	authority *authority
	port      int
	etcdURL   string
	processes []*component
}

// component is a running program of the control plane.
type component struct {
	name    string
	argv    []string
	process *child.Process
	log     string
}

// start brings the control plane up in dir. What runs after an error has to be stopped
// as well.
func (c *controlPlane) start(ctx context.Context) error {
	if err := c.writeFiles(); err != nil {
		return err
	}
	if err := c.startEtcd(); err != nil {
		return err
	}
	if err := c.startAPIServer(ctx); err != nil {
		return err
	}
	if err := c.startControllerManager(); err != nil {
		return err
	}
	if err := c.startScheduler(ctx); err != nil {
		return err
	}
	return c.awaitServiceAccounts(ctx)
}

// stop ends every component and waits for it. The API server takes many seconds over a
// friendly signal and has nothing to lose here: its files go away with the directory.
func (c *controlPlane) stop() {
	for _, component := range c.processes {
		component.process.Signal(killSignal)
	}
	for _, component := range c.processes {
		<-component.process.Done()
	}
}

// writeFiles makes the certificates and the kubeconfigs of the components.
func (c *controlPlane) writeFiles() error {
	var err error
	if c.authority, err = newAuthority(); err != nil {
		return err
	}
	if c.port == 0 {
		if c.port, err = c.ports.Take(); err != nil {
			return err
		}
	}
	if err := os.WriteFile(c.path("ca.crt"), c.authority.pem, 0o600); err != nil {
		return err
	}
	if err := c.writeServerPairs(); err != nil {
		return err
	}
	for name, identity := range map[string][]string{
		"admin":              {adminUser, adminGroup},
		"controller-manager": {controllerManagerUser},
		"scheduler":          {schedulerUser},
	} {
		client, err := c.authority.client(identity[0], identity[1:]...)
		if err != nil {
			return err
		}
		if err := writeKubeconfig(c.kubeconfig(name), c.url(), c.authority.pem, client); err != nil {
			return err
		}
	}
	return nil
}

// writeServerPairs makes what the API server serves with, signs service account tokens
// with and shows to nodes.
func (c *controlPlane) writeServerPairs() error {
	server, err := c.authority.server([]net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(ServiceAddress)},
		"kube-apiserver", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
	if err != nil {
		return err
	}
	if err := server.write(c.dir, "apiserver"); err != nil {
		return err
	}
	kubelet, err := c.authority.client(KubeletClientUser)
	if err != nil {
		return err
	}
	if err := kubelet.write(c.dir, "kubelet-client"); err != nil {
		return err
	}
	_, key, err := newKey()
	if err != nil {
		return fmt.Errorf("key that signs service account tokens: %w", err)
	}
	return os.WriteFile(c.path("service-account.key"), key, 0o600)
}

func (c *controlPlane) startEtcd() error {
	port, err := c.ports.Take()
	if err != nil {
		return err
	}
	c.etcdURL = "http://" + ports.Address(port)
	return c.run("etcd", c.binaries.etcd, []string{
		"--data-dir=" + c.path("etcd"),
		"--listen-client-urls=" + c.etcdURL,
		"--advertise-client-urls=" + c.etcdURL,
		"--listen-peer-urls=http://127.0.0.1:0",
		// The data does not outlive the process.
		"--unsafe-no-fsync",
		"--log-level=warn",
	}, nil)
}

func (c *controlPlane) startAPIServer(ctx context.Context) error {
	err := c.run(apiServer, c.binaries.apiServer, []string{
		"--etcd-servers=" + c.etcdURL,
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		// A loopback address can't be an endpoint of the kubernetes Service.
		"--endpoint-reconciler-type=none",
		"--secure-port=" + strconv.Itoa(c.port),
		"--cert-dir=" + c.dir,
		"--tls-cert-file=" + c.path("apiserver.crt"),
		"--tls-private-key-file=" + c.path("apiserver.key"),
		"--client-ca-file=" + c.path("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("service-account.key"),
		"--service-account-signing-key-file=" + c.path("service-account.key"),
		"--service-cluster-ip-range=" + serviceRange,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--kubelet-certificate-authority=" + c.path("ca.crt"),
		"--kubelet-client-certificate=" + c.path("kubelet-client.crt"),
		"--kubelet-client-key=" + c.path("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
	}, c.extra.APIServer)
	if err != nil {
		return err
	}
	return c.awaitAPIServer(ctx)
}

func (c *controlPlane) awaitAPIServer(ctx context.Context) error {
	config, err := loadKubeconfig(c.kubeconfig("admin"))
	if err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	return c.awaitReady(ctx, apiServer, client, c.url()+"/readyz")
}

// restartAPIServer kills the API server, has it gone for a while, and starts it again.
func (c *controlPlane) restartAPIServer(ctx context.Context, gone time.Duration) error {
	i := slices.IndexFunc(c.processes, func(p *component) bool { return p.name == apiServer })
	server := c.processes[i]
	server.process.Kill()
	select {
	case <-time.After(gone):
	case <-ctx.Done():
		return ctx.Err()
	}
	var err error
	if server.process, err = child.StartLogged(c.command(server.argv), server.log); err != nil {
		return fmt.Errorf("%s: %w", apiServer, err)
	}
	return c.awaitAPIServer(ctx)
}

func (c *controlPlane) startControllerManager() error {
	port, err := c.ports.Take()
	if err != nil {
		return err
	}
	return c.run("kube-controller-manager", c.binaries.controllerManager, []string{
		"--kubeconfig=" + c.kubeconfig("controller-manager"),
		"--service-account-private-key-file=" + c.path("service-account.key"),
		"--root-ca-file=" + c.path("ca.crt"),
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		// Pods have a loopback address here, which endpoints may not have.
		"--controllers=*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller",
		// With the default limits it takes 5 seconds longer to get going.
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(port),
	}, c.extra.ControllerManager)
}

func (c *controlPlane) startScheduler(ctx context.Context) error {
	port, err := c.ports.Take()
	if err != nil {
		return err
	}
	err = c.run("kube-scheduler", c.binaries.scheduler, []string{
		"--kubeconfig=" + c.kubeconfig("scheduler"),
		"--leader-elect=false",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(port),
	}, c.extra.Scheduler)
	if err != nil {
		return err
	}
	// Its certificate is its own, made in memory; it is told no secret.
	insecure := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // see above
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: insecure}}
	return c.awaitReady(ctx, "kube-scheduler", client, "https://"+ports.Address(port)+"/readyz")
}

// run starts one component with its log beside the other files.
func (c *controlPlane) run(name, path string, args, extra []string) error {
	log := c.path(name + ".log")
	argv := slices.Concat([]string{path}, args, extra)
	process, err := child.StartLogged(c.command(argv), log)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.processes = append(c.processes, &component{name: name, argv: argv, process: process, log: log})
	return nil
}

func (c *controlPlane) command(argv []string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = c.dir
	return cmd
}

// awaitReady waits until url answers 200. It gives up early when a component has ended.
func (c *controlPlane) awaitReady(ctx context.Context, name string, client *http.Client, url string) error {
	last := "it never answered"
	err := c.await(ctx, func(ctx context.Context) bool {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			last = err.Error()
			return false
		}
		response, err := client.Do(request)
		if err != nil {
			last = err.Error()
			return false
		}
		_ = response.Body.Close()
		last = response.Status
		return response.StatusCode == http.StatusOK
	})
	if err != nil {
		return fmt.Errorf("%s is not ready (%s): %w", name, last, err)
	}
	return nil
}

// awaitServiceAccounts waits until pods can be created: their service account is made
// by the controller manager.
func (c *controlPlane) awaitServiceAccounts(ctx context.Context) error {
	config, err := loadKubeconfig(c.kubeconfig("admin"))
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	var last error
	err = c.await(ctx, func(ctx context.Context) bool {
		_, last = client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return last == nil
	})
	if err != nil && last != nil && !apierrors.IsNotFound(last) {
		return fmt.Errorf("the default service account can't be read (%w): %w", last, err)
	}
	if err != nil {
		return fmt.Errorf("kube-controller-manager made no default service account: %w", err)
	}
	return nil
}

// await asks done again and again. Its error is the log of a component that ended, or
// the context's.
func (c *controlPlane) await(ctx context.Context, done func(context.Context) bool) error {
	return wait.PollUntilContextTimeout(ctx, readinessPeriod, readinessTimeout, true, func(ctx context.Context) (bool, error) {
		if err := c.failed(); err != nil {
			return false, err
		}
		return done(ctx), nil
	})
}

// failed says which component has ended, with the end of its log.
func (c *controlPlane) failed() error {
	for _, component := range c.processes {
		select {
		case <-component.process.Done():
			return fmt.Errorf("%s ended with code %d:\n%s", component.name, component.process.ExitCode(), Tail(component.log, 20))
		default:
		}
	}
	return nil
}

func (c *controlPlane) path(name string) string { return filepath.Join(c.dir, name) }

func (c *controlPlane) kubeconfig(name string) string { return c.path(name + ".kubeconfig") }

func (c *controlPlane) url() string { return "https://" + ports.Address(c.port) }
