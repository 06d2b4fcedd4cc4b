// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fault is what happens to a request in place of being passed on.
type fault func(request *http.Request, next http.RoundTripper) (*http.Response, error)

// refused answers with an error of the server.
func refused(request *http.Request, _ http.RoundTripper) (*http.Response, error) {
	return respond(request, http.StatusInternalServerError, metav1.StatusReasonInternalError), nil
}

// conflicting answers that the object has changed.
func conflicting(request *http.Request, _ http.RoundTripper) (*http.Response, error) {
	return respond(request, http.StatusConflict, metav1.StatusReasonConflict), nil
}

// cut breaks the connection before the request arrives.
func cut(*http.Request, http.RoundTripper) (*http.Response, error) { return nil, syscall.ECONNRESET }

// cutAfter breaks the connection after the server has done what was asked.
func cutAfter(request *http.Request, next http.RoundTripper) (*http.Response, error) {
	response, err := next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(syscall.ECONNRESET, response.Body.Close())
}

// timedOut is what a client sees that gave up.
func timedOut(*http.Request, http.RoundTripper) (*http.Response, error) {
	return nil, context.DeadlineExceeded
}

// unanswered gives no answer before the client gives up.
func unanswered(request *http.Request, _ http.RoundTripper) (*http.Response, error) {
	<-request.Context().Done()
	return nil, request.Context().Err()
}

// heldUp gives no answer either, but the request is on its way all the same: release
// has it arrive, and gives the answer that no one waits for any more.
func heldUp(release <-chan struct{}, answer chan<- int) fault {
	return func(request *http.Request, next http.RoundTripper) (*http.Response, error) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		late := request.Clone(context.Background())
		late.Body = io.NopCloser(bytes.NewReader(body))
		go func() {
			<-release
			response, err := next.RoundTrip(late)
			if err != nil {
				answer <- 0
				return
			}
			_ = response.Body.Close()
			answer <- response.StatusCode
		}()
		return nil, errors.New("request timed out")
	}
}

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

// line is a process's connection to the API server, which breaks as it is told to.
type line struct {
	mu sync.Mutex
	// choose gives the fault for the n-th write, counted from 1; nil for none.
	choose func(n int) fault
	writes int
	// down has every request fail.
	down bool
	// watches are the answers that are being read.
	watches []io.Closer
}

// wrap puts the line into a client's configuration.
func (l *line) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if fault := l.pick(request); fault != nil {
			return fault(request, next)
		}
		response, err := next.RoundTrip(request)
		if err == nil && request.URL.Query().Get("watch") != "" {
			l.mu.Lock()
			l.watches = append(l.watches, response.Body)
			l.mu.Unlock()
		}
		return response, err
	})
}

func (l *line) pick(request *http.Request) fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	write := request.Method == http.MethodPatch
	if write {
		l.writes++
	}
	switch {
	case l.down:
		return cut
	case write && l.choose != nil:
		return l.choose(l.writes)
	default:
		return nil
	}
}

// set chooses what goes wrong with writes from now on.
func (l *line) set(choose func(n int) fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.choose = choose
}

// setDown breaks every connection and makes new ones fail, or lets them work again.
func (l *line) setDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	for _, watch := range l.watches {
		_ = watch.Close()
	}
	l.watches = nil
}

// count gives the number of writes tried.
func (l *line) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writes
}

// only gives the fault for one write, counted from the writes made so far.
func (l *line) only(n int, f fault) func(int) fault {
	n += l.count()
	return func(i int) fault {
		if i == n {
			return f
		}
		return nil
	}
}

// all gives the fault for every write.
func all(f fault) func(int) fault { return func(int) fault { return f } }
