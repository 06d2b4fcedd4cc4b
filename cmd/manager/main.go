// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Command manager is the operator: it gives GenerationJobs to runners and runs the pods
// of RunnerPools.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/atelier-dev/atelier/internal/controller"
	"github.com/atelier-dev/atelier/internal/incluster"
	"github.com/atelier-dev/atelier/internal/version"
)

// leaseName is the Lease by which managers agree on a leader.
const leaseName = "atelier-manager"

// A standby looks at the lease every 2.2 retry periods at the latest. So it knows of the
// leader's last renewal that much later, and of the lease's end once more: it leads 16.4
// seconds after that renewal at the latest, where Kubernetes' usual 15, 10 and 2 seconds come
// to 23.8. A leader that can't renew ends before another one may begin.
const (
	leaseDuration = 12 * time.Second
	renewDeadline = 9 * time.Second
	retryPeriod   = time.Second
)

// shutdownTimeout is how long what is being worked on has to end; less than the pod's grace
// period, so that the lease is released in any case.
const shutdownTimeout = 10 * time.Second

// options are what the command line sets.
type options struct {
	leaderElect          bool
	leaderElectNamespace string
	metricsAddress       string
	probeAddress         string
	controller           controller.Options
	log                  zap.Options
	printVersion         bool
}

func main() {
	o := parseFlags()
	if o.printVersion {
		fmt.Println(version.Version)
		return
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&o.log), keepBodiesOut))
	log := ctrl.Log.WithName("manager")
	if err := run(ctrl.SetupSignalHandler(), o); err != nil {
		log.Error(err, "Manager ended")
		os.Exit(1)
	}
	log.Info("Manager stopped")
}

func parseFlags() options {
	var o options
	flag.BoolVar(&o.leaderElect, "leader-elect", false, "Work only while holding the lease "+leaseName+", so that of several managers one works at a time.")
	flag.StringVar(&o.leaderElectNamespace, "leader-elect-namespace", os.Getenv("POD_NAMESPACE"), "Namespace of the lease. Defaults to $POD_NAMESPACE.")
	flag.StringVar(&o.metricsAddress, "metrics-bind-address", "0", "Where to serve metrics over HTTPS to those whom the API server allows it, such as :8443. 0 serves none.")
	flag.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "Where to serve /healthz and /readyz. 0 serves none.")
	flag.StringVar(&o.controller.RunnerImage, "runner-image", "atelier-runner", "Image of runners whose pool's template names none.")
	flag.DurationVar(&o.controller.Backoff.Base, "backoff-base", time.Second, "Wait after a job's first failed attempt; each further one doubles it.")
	flag.DurationVar(&o.controller.Backoff.Max, "backoff-max", 6*time.Minute, "Longest wait after a failed attempt.")
	flag.BoolVar(&o.printVersion, "version", false, "Print the version and end.")
	o.log.BindFlags(flag.CommandLine)
	flag.Parse()
	return o
}

// maxVerbosity is the most that the manager logs, whatever --zap-log-level says. From 8 on
// Kubernetes' client logs the bodies of requests and answers, and so the prompts of jobs.
const maxVerbosity = 7

// keepBodiesOut bounds a logger's verbosity.
func keepBodiesOut(o *zap.Options) {
	if least := zapcore.Level(-maxVerbosity); o.Level != nil && zapcore.LevelOf(o.Level) < least {
		o.Level = least
	}
}

// run works until the context ends.
func run(ctx context.Context, o options) error {
	cluster, err := clusterConfig()
	if err != nil {
		return err
	}
	options := managerOptions(o)
	if options.LeaderElectionResourceLockInterface, err = podLock(cluster, o.leaderElectNamespace); err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(cluster, options)
	if err != nil {
		return err
	}
	if err := errors.Join(
		controller.Setup(ctx, mgr, o.controller),
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("ping", healthz.Ping),
	); err != nil {
		return err
	}
	mgr.GetLogger().Info("Manager starts", "version", version.Version, "runnerImage", o.controller.RunnerImage)
	return mgr.Start(ctx)
}

// clusterConfig is the pod's own service account in a cluster, and elsewhere what kubectl
// would use.
func clusterConfig() (*rest.Config, error) {
	cluster, err := incluster.Config()
	if errors.Is(err, incluster.ErrNotInCluster) {
		return ctrl.GetConfig()
	}
	return cluster, err
}

func managerOptions(o options) ctrl.Options {
	return ctrl.Options{
		Scheme: controller.NewScheme(),
		Cache:  controller.CacheOptions(),
		Client: controller.ClientOptions(),
		Metrics: metricsserver.Options{
			BindAddress:    o.metricsAddress,
			SecureServing:  true,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
		HealthProbeBindAddress:  o.probeAddress,
		LeaderElection:          o.leaderElect,
		LeaderElectionID:        leaseName,
		LeaderElectionNamespace: o.leaderElectNamespace,
		LeaseDuration:           new(leaseDuration),
		RenewDeadline:           new(renewDeadline),
		RetryPeriod:             new(retryPeriod),
		GracefulShutdownTimeout: new(shutdownTimeout),
		// A standby keeps its cache filled, and leads as soon as it has the lease.
		Controller: config.Controller{EnableWarmup: new(true)},
		// The process ends as soon as Start returns, so the next leader need not wait
		// for the lease to run out.
		LeaderElectionReleaseOnCancel: true,
	}
}
