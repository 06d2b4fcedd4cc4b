// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

func TestParseBenchmark(t *testing.T) {
	for _, c := range []struct {
		line, name string
		figures    map[string]float64
	}{
		{
			"BenchmarkPicture/fluent-emoji-2 \t 6\t 887673621 ns/op\t 2.156 outside-%\t 19141 outside-µs/op\t 1547852 B/op\t 960 allocs/op\n",
			"fluent-emoji", map[string]float64{"ns/op": 887673621, "outside-%": 2.156, "outside-µs/op": 19141, "B/op": 1547852, "allocs/op": 960},
		},
		{"BenchmarkPicture/large-16 1 5 ns/op", "large", map[string]float64{"ns/op": 5}},
		{"BenchmarkPicture/large", "", nil},
		{"BenchmarkOther-2 1 5 ns/op", "", nil},
		{"BenchmarkPicture/x-2 1 five ns/op", "", nil},
		{"goos: linux", "", nil},
		{"", "", nil},
	} {
		name, figures, ok := parseBenchmark(c.line)
		if name != c.name || !maps.Equal(figures, c.figures) || ok != (c.name != "") {
			t.Errorf("%q gives %q, %v, %v", c.line, name, figures, ok)
		}
	}
}

// TestAPIServer takes a status, and gives it with what a watch begins with.
func TestAPIServer(t *testing.T) {
	s := newAPIServer()
	defer s.Close()
	runners := s.URL + "/apis/" + v1alpha1.GroupVersion.String() + "/namespaces/" + namespace + "/runners"
	patch := `[{"op":"replace","path":"/metadata/resourceVersion","value":"1"},{"op":"add","path":"/status","value":{"bootID":"b"}}]`
	response := ask(t, s, http.MethodPatch, runners+"/"+runnerName+"/status", patch)
	var runner v1alpha1.Runner
	if err := json.NewDecoder(response.Body).Decode(&runner); err != nil || runner.Status.BootID != "b" || runner.ResourceVersion != "2" {
		t.Errorf("the patch gives %+v (%v)", runner, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	watch, err := http.NewRequestWithContext(ctx, http.MethodGet, runners+"?watch=true&sendInitialEvents=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err = s.Client().Do(watch)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	decoder := json.NewDecoder(response.Body)
	for _, want := range []string{"ADDED", "BOOKMARK"} {
		var e struct {
			Type   string          `json:"type"`
			Object v1alpha1.Runner `json:"object"`
		}
		if err := decoder.Decode(&e); err != nil || e.Type != want || e.Object.ResourceVersion != "2" {
			t.Errorf("got %+v (%v), want %s", e, err, want)
		}
	}
}

// ask sends a request whose answer must be 200.
func ask(t *testing.T, s *apiServer, method, url, body string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		t.Fatalf("%s: %s", response.Status, text)
	}
	return response
}
