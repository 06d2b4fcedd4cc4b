// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package front is a proxy before a server of objects that fails as it is told to.
package front

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// Fault is asked before a request to write or to read an object, of which n is the number.
// True says that it answered.
type Fault func(w http.ResponseWriter, r *http.Request, n int64) bool

// Front is the proxy.
type Front struct {
	// URL is the endpoint for clients.
	URL           string
	writes, reads watch
}

// watch counts requests and may answer them.
type watch struct {
	fault atomic.Pointer[Fault]
	n     atomic.Int64
}

func (c *watch) set(fault Fault) {
	if fault == nil {
		c.fault.Store(nil)
		return
	}
	c.fault.Store(&fault)
}

func (c *watch) answers(w http.ResponseWriter, r *http.Request) bool {
	n := c.n.Add(1)
	fault := c.fault.Load()
	return fault != nil && (*fault)(w, r, n)
}

// Start starts a proxy before the server at an address, for as long as the test runs.
func Start(t testing.TB, address string) *Front {
	t.Helper()
	f := &Front{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	// What the server does not answer ends as a cut connection, as without a proxy.
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPut, http.MethodPost:
			if f.writes.answers(w, r) {
				return
			}
		case http.MethodGet:
			if f.reads.answers(w, r) {
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.URL = server.URL
	return f
}

// SetFault says what is to go wrong with writing from now on; nil is nothing.
func (f *Front) SetFault(fault Fault) { f.writes.set(fault) }

// SetReadFault says what is to go wrong with reading from now on; nil is nothing.
func (f *Front) SetReadFault(fault Fault) { f.reads.set(fault) }

// Puts is how many requests to write an object have come.
func (f *Front) Puts() int64 { return f.writes.n.Load() }

// Gets is how many requests to read an object have come.
func (f *Front) Gets() int64 { return f.reads.n.Load() }
