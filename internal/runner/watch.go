// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// watchRunner sends the Runner to observed each time it changes, and nil when there is none,
// until ctx is done. It relists and watches again after errors.
func watchRunner(ctx context.Context, client *Client, observed chan<- *v1alpha1.Runner) {
	// A pod can be faster than the role that lets it watch; begin again sooner than
	// the reflector's own 800 ms.
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 8, Cap: 10 * time.Second}
	cache.NewReflectorWithOptions(client.listWatch(), &v1alpha1.Runner{}, relay{ctx: ctx, observed: observed},
		cache.ReflectorOptions{Name: "runner", Backoff: &backoff}).RunWithContext(ctx)
}

// relay is the store of a reflector that keeps nothing and passes everything on.
type relay struct {
	ctx      context.Context
	observed chan<- *v1alpha1.Runner
}

var _ cache.ReflectorStore = relay{}

func (r relay) Add(obj any) error    { return r.send(obj.(*v1alpha1.Runner)) }
func (r relay) Update(obj any) error { return r.send(obj.(*v1alpha1.Runner)) }
func (r relay) Delete(any) error     { return r.send(nil) }
func (r relay) Resync() error        { return nil }

// Replace takes the answer to a list, which has the one Runner or nothing.
func (r relay) Replace(list []any, _ string) error {
	if len(list) == 0 {
		return r.send(nil)
	}
	return r.send(list[0].(*v1alpha1.Runner))
}

// send never fails: the reflector would log an error together with the object, and with
// it prompts. When ctx is done no one is left to be told.
func (r relay) send(runner *v1alpha1.Runner) error {
	select {
	case r.observed <- runner:
	case <-r.ctx.Done():
	}
	return nil
}

// newer reports whether resource version a is later than b. Where the two can't be
// compared any difference counts: acting on it costs at most a refused write.
func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	if err != nil {
		return a != b
	}
	return order > 0
}
