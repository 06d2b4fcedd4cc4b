// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// resource is the plural that the API server knows Runners by.
const resource = "runners"

// requestTimeout bounds a single request. A write that takes longer may have been applied
// all the same, which the next one finds out by a conflict.
const requestTimeout = 10 * time.Second

// Client reads and reports to one Runner, and can do nothing else. It is a plain REST
// client because a cache and a clientset would be most of the time a runner takes to start.
type Client struct {
	rest            rest.Interface
	namespace, name string
	// timeout of a single request.
	timeout time.Duration
	// answered is called when the API server has answered a request. It is set before the
	// first one.
	answered func()
}

// NewClient makes a client for the Runner of this namespace and name.
func NewClient(config *rest.Config, namespace, name string) (*Client, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering %s: %w", v1alpha1.GroupVersion, err)
	}
	config = rest.CopyConfig(config)
	config.GroupVersion = &v1alpha1.GroupVersion
	config.APIPath = "/apis"
	config.UserAgent = cmp.Or(config.UserAgent, "atelier-runner")
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	// The writer paces itself; a limit here would only hold phase changes back.
	config.QPS = -1
	c := &Client{namespace: namespace, name: name, timeout: requestTimeout, answered: func() {}}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return noting(next, func() { c.answered() }) })
	restClient, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("client for the API server: %w", err)
	}
	c.rest = restClient
	return c, nil
}

// ask has the API server answer something, from its memory as it is of no interest what.
func (c *Client) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	c.rest.Get().Namespace(c.namespace).Resource(resource).Name(c.name).Param("resourceVersion", "0").Do(ctx)
}

// get reads the Runner past every cache.
func (c *Client) get(ctx context.Context) (*v1alpha1.Runner, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	runner := &v1alpha1.Runner{}
	err := c.rest.Get().Namespace(c.namespace).Resource(resource).Name(c.name).Do(ctx).Into(runner)
	return runner, err
}

// operation of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patchStatus replaces the whole status of the Runner if it still has the given
// resource version, and gives a Conflict error if not. Replacing the whole means that
// nothing of an earlier status can linger and that repeating a write is harmless.
func (c *Client) patchStatus(ctx context.Context, resourceVersion string, status *v1alpha1.RunnerStatus) (*v1alpha1.Runner, error) {
	patch, err := json.Marshal([]operation{
		{Op: "replace", Path: "/metadata/resourceVersion", Value: resourceVersion},
		{Op: "add", Path: "/status", Value: status},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the status: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	runner := &v1alpha1.Runner{}
	err = c.rest.Patch(types.JSONPatchType).
		Namespace(c.namespace).Resource(resource).Name(c.name).SubResource("status").
		Body(patch).Do(ctx).Into(runner)
	return runner, err
}

// listWatch lists and watches the one Runner. The selector on the name is what lets
// RBAC tell these requests from ones for other Runners.
func (c *Client) listWatch() cache.ListerWatcher {
	return cache.NewListWatchFromClient(c.rest, resource, c.namespace,
		fields.OneTermEqualSelector(metav1.ObjectNameField, c.name))
}
