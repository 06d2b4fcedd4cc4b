// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/atelier-dev/atelier/internal/incluster"
	"github.com/atelier-dev/atelier/internal/modelstore/cache"
	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
	"github.com/atelier-dev/atelier/internal/ort"
	"github.com/atelier-dev/atelier/internal/pipeline"
	"github.com/atelier-dev/atelier/internal/runner"
	"github.com/atelier-dev/atelier/internal/version"
)

// The variables that the pod's template fills from the downward API.
const (
	runnerNameEnv   = "RUNNER_NAME"
	podUIDEnv       = "POD_UID"
	podNamespaceEnv = "POD_NAMESPACE"
	// prepareGraphsEnv is set by a pool's template to spare it repeating all arguments.
	prepareGraphsEnv = "PREPARE_GRAPHS"
	storesDirEnv     = "STORES_DIR"
)

// serveOptions are what serve is told by flags and environment.
type serveOptions struct {
	name      string
	namespace string
	podUID    string
	listen    string
	cache     cacheOptions
	// prepareGraphs says when graphs are kept as ONNX Runtime prepared them, and runtime has
	// what follows from it.
	prepareGraphs string
	runtime       ort.Options
	config        runner.Config
}

func newServeCommand() *cobra.Command {
	var o serveOptions
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run the jobs that a cluster assigns to this pod",
		Long: `Watch the Runner object of this pod, run the jobs assigned in its spec one after
another, and report in its status. Nothing is loaded and no device is touched before
the first job needs it.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.complete(); err != nil {
				return err
			}
			return serve(command.Context(), o)
		},
	}
	flags := command.Flags()
	flags.StringVar(&o.name, "name", os.Getenv(runnerNameEnv), "name of the Runner object (default $"+runnerNameEnv+")")
	flags.StringVar(&o.namespace, "namespace", os.Getenv(podNamespaceEnv), "namespace of the Runner object (default $"+podNamespaceEnv+", else that of the service account)")
	flags.StringVar(&o.podUID, "pod-uid", os.Getenv(podUIDEnv), "uid of this pod (default $"+podUIDEnv+")")
	flags.StringVar(&o.listen, "listen", ":8080", "address for /healthz, /readyz and /metrics")
	flags.StringVar(&o.config.ModelsDir, "models-dir", "/models", "directory of the models volume")
	o.cache.add(flags, "")
	flags.StringVar(&o.prepareGraphs, "prepare-graphs", cmp.Or(os.Getenv(prepareGraphsEnv), prepareAuto),
		"keep graphs in the cache as ONNX Runtime prepared them for this processor: auto (what is loaded a second time), true or false (default $"+prepareGraphsEnv+")")
	flags.Lookup("prepare-graphs").NoOptDefVal = prepareAlways
	flags.StringVar(&o.config.OutputsDir, "outputs-dir", "/outputs", "directory of the outputs volume")
	flags.StringVar(&o.config.StoresDir, "stores-dir", os.Getenv(storesDirEnv), "directory with a directory for the credentials of each store (default $"+storesDirEnv+")")
	flags.DurationVar(&o.config.ShutdownTimeout, "shutdown-timeout", 20*time.Second, "time to stop and report in when told to end; less than the pod's grace period")
	flags.DurationVar(&o.config.StopTimeout, "stop-timeout", time.Minute, "time that cancelled work may take to stop before /healthz fails")
	return command
}

// complete fills in what can be found out and refuses what is missing.
func (o *serveOptions) complete() error {
	if o.name == "" {
		return fmt.Errorf("--name or %s must say which Runner this is: the pod's metadata.name", runnerNameEnv)
	}
	if o.podUID == "" {
		return fmt.Errorf("--pod-uid or %s must say which pod this is: the pod's metadata.uid", podUIDEnv)
	}
	if o.namespace == "" {
		namespace, err := incluster.Namespace()
		if err != nil {
			return fmt.Errorf("--namespace and %s are empty: %w", podNamespaceEnv, err)
		}
		o.namespace = namespace
	}
	models, err := o.cache.open()
	if err != nil {
		return err
	}
	if o.runtime, err = preparing(o.prepareGraphs, models); err != nil {
		return err
	}
	o.config.Cache, o.config.Credentials = models, fetch.Credentials{File: o.cache.registry}
	o.config.PodUID = types.UID(o.podUID)
	o.config.Version = version.Version
	o.config.StartTime = processStart()
	return nil
}

// The values of --prepare-graphs.
const (
	prepareAuto   = "auto"
	prepareAlways = "true"
	prepareNever  = "false"
)

// preparing says which graphs are prepared in a cache, which may be nil. Nothing is prepared
// in memory unless that is asked for, as it takes more of it than a load.
func preparing(when string, c *cache.Cache) (ort.Options, error) {
	switch {
	case when != prepareAuto && when != prepareAlways && when != prepareNever:
		return ort.Options{}, fmt.Errorf("--prepare-graphs or %s is %q; must be %s, %s or %s", prepareGraphsEnv, when, prepareAuto, prepareAlways, prepareNever)
	case when == prepareAlways && c == nil:
		return ort.Options{}, fmt.Errorf("--prepare-graphs or %s is %q: graphs are kept in the cache, so --cache-dir or %s must name one", prepareGraphsEnv, when, cacheDirEnv)
	case when == prepareNever || c == nil || when == prepareAuto && c.InMemory():
		return ort.Options{}, nil
	}
	return ort.Options{Graphs: c, PrepareReloaded: when == prepareAuto}, nil
}

// serve runs the agent and its HTTP server until ctx is done.
func serve(ctx context.Context, o serveOptions) error {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("runner", o.name)
	klog.SetSlogLogger(log)
	config, err := incluster.Config()
	if err != nil {
		return err
	}
	client, err := runner.NewClient(config, o.namespace, o.name)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	o.runtime.Log = log
	networks := pipeline.New(ort.New(o.runtime))
	if o.runtime.Graphs != nil {
		go networks.Prepare(ctx)
	}
	agent := runner.New(o.config, client, networks, runner.NewMetrics(registry), clock.RealClock{}, log)

	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	server := &http.Server{Handler: agent.Handler(registry), ReadHeaderTimeout: 5 * time.Second}
	defer func() { _ = server.Close() }()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("HTTP server ended", "error", err)
		}
	}()
	log.Info("Serving", "version", o.config.Version, "namespace", o.namespace, "podUID", o.podUID, "listen", listener.Addr().String())
	return agent.Run(ctx)
}
