// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// deliver passes a request on to the API server.
type deliver func() (*http.Response, error)

// fault is what happens to a request instead of being delivered.
type fault func(request *http.Request, deliver deliver) (*http.Response, error)

// Faults of a single request.
var (
	// refused answers with an error of the server.
	refused fault = func(request *http.Request, _ deliver) (*http.Response, error) {
		return respond(request, http.StatusInternalServerError, metav1.StatusReasonInternalError), nil
	}
	// conflicting answers that the object has changed.
	conflicting fault = func(request *http.Request, _ deliver) (*http.Response, error) {
		return respond(request, http.StatusConflict, metav1.StatusReasonConflict), nil
	}
	// cut breaks the connection before the request arrives.
	cut fault = func(*http.Request, deliver) (*http.Response, error) {
		return nil, syscall.ECONNRESET
	}
	// cutAfter breaks the connection after the server has done what was asked.
	cutAfter fault = func(_ *http.Request, deliver deliver) (*http.Response, error) {
		response, err := deliver()
		if err != nil {
			return nil, err
		}
		response.Body.Close()
		return nil, syscall.ECONNRESET
	}
	// timedOut gives no answer in time.
	timedOut fault = func(request *http.Request, _ deliver) (*http.Response, error) {
		return nil, errors.New("request timed out")
	}
)

func respond(request *http.Request, code int, reason metav1.StatusReason) *http.Response {
	body, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure,
		Message:  "injected",
		Reason:   reason,
		Code:     int32(code),
	})
	if err != nil {
		panic(err)
	}
	return &http.Response{
		StatusCode: code,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(bytes.NewReader(body)),
		Request:    request,
	}
}

// line is a connection to the API server that breaks as it is told to.
type line struct {
	mu sync.Mutex
	// choose gives the fault for the n-th write, counted from 1; nil for none.
	choose func(n int) fault
	writes int
}

// wrap puts the line into a client's configuration.
func (l *line) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		deliver := func() (*http.Response, error) { return next.RoundTrip(request) }
		if request.Method != http.MethodPatch {
			return deliver()
		}
		if fault := l.nextFault(); fault != nil {
			return fault(request, deliver)
		}
		return deliver()
	})
}

func (l *line) nextFault() fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	if l.choose == nil {
		return nil
	}
	return l.choose(l.writes)
}

// set changes what goes wrong from now on.
func (l *line) set(choose func(n int) fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.choose = choose
}

// count gives the number of writes tried.
func (l *line) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writes
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
