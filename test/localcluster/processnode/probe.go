// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/atelier-dev/atelier/test/internal/ports"
)

// eagerPeriod is how often a container that has not started yet, or was never ready, is
// asked: a probe's own period of 10 seconds would hide that a process starts in
// milliseconds.
const eagerPeriod = 100 * time.Millisecond

// tally turns single outcomes of a probe into a verdict, by its thresholds.
type tally struct {
	success, failure int32 // thresholds
	healthy          bool  // the verdict
	run              int32 // equal outcomes in a row
	last             bool
}

func newTally(probe *corev1.Probe, healthy bool) *tally {
	return &tally{success: max(probe.SuccessThreshold, 1), failure: max(probe.FailureThreshold, 1), healthy: healthy}
}

// observe takes one outcome and reports whether the verdict changed.
func (t *tally) observe(ok bool) (changed bool) {
	if ok != t.last {
		t.run = 0
	}
	t.last = ok
	t.run++
	threshold := t.failure
	if ok {
		threshold = t.success
	}
	if ok == t.healthy || t.run < threshold {
		return false
	}
	t.healthy = ok
	return true
}

// prober asks one running container how it is.
type prober struct {
	port    func(intstr.IntOrString) (int, error) // of the host, for a port of the container
	exec    func(ctx context.Context, command []string) error
	started func()                     // called when the startup probe succeeded
	ready   func(bool)                 // called when readiness changes
	failed  func(kind string, _ error) // called with each failure
}

// run probes until ctx ends. It returns an error when the container has to be restarted.
func (p *prober) run(ctx context.Context, container *corev1.Container) error {
	if err := p.untilStarted(ctx, container.StartupProbe); err != nil {
		return err
	}
	p.started()
	if container.ReadinessProbe == nil {
		p.ready(true)
	} else {
		go p.watchReadiness(ctx, container.ReadinessProbe)
	}
	if container.LivenessProbe == nil {
		<-ctx.Done()
		return nil
	}
	return p.untilUnhealthy(ctx, container.LivenessProbe)
}

// untilStarted returns nil at the first success, and an error when there was none in the
// time that the probe's threshold and period allow.
func (p *prober) untilStarted(ctx context.Context, probe *corev1.Probe) error {
	if probe == nil {
		return nil
	}
	allowed := time.Duration(max(probe.FailureThreshold, 1)) * period(probe)
	deadline := time.Now().Add(time.Duration(probe.InitialDelaySeconds)*time.Second + allowed)
	return p.each(ctx, "Startup", probe, func(outcome error) (time.Duration, error) {
		if outcome == nil {
			return 0, errStarted
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("failed startup probe: %w", outcome)
		}
		return eagerPeriod, nil
	})
}

// errStarted ends the loop of a startup probe that succeeded.
var errStarted = errors.New("started")

func (p *prober) untilUnhealthy(ctx context.Context, probe *corev1.Probe) error {
	verdict := newTally(probe, true)
	return p.each(ctx, "Liveness", probe, func(outcome error) (time.Duration, error) {
		if verdict.observe(outcome == nil) && !verdict.healthy {
			return 0, fmt.Errorf("failed liveness probe: %w", outcome)
		}
		return period(probe), nil
	})
}

func (p *prober) watchReadiness(ctx context.Context, probe *corev1.Probe) {
	verdict := newTally(probe, false)
	wait := eagerPeriod
	_ = p.each(ctx, "Readiness", probe, func(outcome error) (time.Duration, error) {
		if verdict.observe(outcome == nil) {
			p.ready(verdict.healthy)
			wait = period(probe)
		}
		return wait, nil
	})
}

// each makes checks until next returns an error or ctx ends, and waits in between as
// next says.
func (p *prober) each(ctx context.Context, kind string, probe *corev1.Probe, next func(error) (time.Duration, error)) error {
	begun := time.Now()
	timer := time.NewTimer(time.Duration(probe.InitialDelaySeconds) * time.Second)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		outcome := p.check(ctx, probe)
		if ctx.Err() != nil {
			return nil
		}
		if outcome != nil && time.Since(begun) >= period(probe) {
			p.failed(kind, outcome) // earlier ones belong to starting
		}
		wait, err := next(outcome)
		if errors.Is(err, errStarted) {
			return nil
		}
		if err != nil {
			return err
		}
		timer.Reset(wait)
	}
}

// check makes one check.
func (p *prober) check(ctx context.Context, probe *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(probe.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	switch {
	case probe.HTTPGet != nil:
		return p.get(ctx, probe.HTTPGet)
	case probe.TCPSocket != nil:
		return p.dial(ctx, probe.TCPSocket.Port)
	case probe.Exec != nil:
		return p.exec(ctx, probe.Exec.Command)
	}
	return errors.New("this node knows probes of kind httpGet, tcpSocket and exec only")
}

// probeClient keeps no connections: each check is to reach the process as a stranger would.
var probeClient = &http.Client{Transport: &http.Transport{
	DisableKeepAlives: true,
	TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as a kubelet does: there is no name to verify
}}

func (p *prober) get(ctx context.Context, action *corev1.HTTPGetAction) error {
	port, err := p.port(action.Port)
	if err != nil {
		return err
	}
	scheme := strings.ToLower(string(action.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	url := fmt.Sprintf("%s://%s/%s", scheme, ports.Address(port), strings.TrimPrefix(action.Path, "/"))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	for _, header := range action.HTTPHeaders {
		request.Header.Add(header.Name, header.Value)
	}
	response, err := probeClient.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", response.StatusCode)
	}
	return nil
}

func (p *prober) dial(ctx context.Context, port intstr.IntOrString) error {
	number, err := p.port(port)
	if err != nil {
		return err
	}
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", ports.Address(number))
	if err != nil {
		return err
	}
	return connection.Close()
}

func period(probe *corev1.Probe) time.Duration {
	return time.Duration(max(probe.PeriodSeconds, 1)) * time.Second
}
