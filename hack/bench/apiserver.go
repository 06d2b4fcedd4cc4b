// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/incluster"
)

// Who the runner is told that it is.
const (
	namespace  = "bench"
	runnerName = "bench-0"
	podUID     = "0b2f3c1e-6d53-4b57-9f0e-1a8f4f1c0a01"
)

// apiServer stands in for Kubernetes: it has one Runner, which it gives and watches, and
// whose status it takes. It answers at once, so that what is measured is the runner.
type apiServer struct {
	*httptest.Server
	mu     sync.Mutex
	runner v1alpha1.Runner
}

// newAPIServer starts a server with a Runner that has no assignments.
func newAPIServer() *apiServer {
	s := &apiServer{runner: v1alpha1.Runner{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Runner"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: runnerName, UID: "1", ResourceVersion: "1"},
		Spec:       v1alpha1.RunnerSpec{PodUID: podUID},
	}}
	mux := http.NewServeMux()
	runners := "/apis/" + v1alpha1.GroupVersion.String() + "/namespaces/" + namespace + "/runners"
	mux.HandleFunc("GET "+runners, s.listOrWatch)
	mux.HandleFunc("PATCH "+runners+"/"+runnerName+"/status", s.patchStatus)
	s.Server = httptest.NewTLSServer(mux)
	return s
}

// environment writes a service account to dir and gives the variables by which a runner
// finds it and the server.
func (s *apiServer) environment(dir string) ([]string, error) {
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	for name, data := range map[string][]byte{"token": []byte("token"), "ca.crt": authority, "namespace": []byte(namespace)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, err
		}
	}
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		return nil, err
	}
	return []string{
		"KUBERNETES_SERVICE_HOST=" + host, "KUBERNETES_SERVICE_PORT=" + port, incluster.DirectoryEnv + "=" + dir,
		"RUNNER_NAME=" + runnerName, "POD_UID=" + podUID, "POD_NAMESPACE=" + namespace,
	}, nil
}

// listOrWatch gives the Runner. A watch that asks for what there is to begin with is told
// where that ends.
func (s *apiServer) listOrWatch(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	runner := s.runner
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	if r.URL.Query().Get("watch") == "" {
		_ = encoder.Encode(v1alpha1.RunnerList{
			TypeMeta: metav1.TypeMeta{APIVersion: runner.APIVersion, Kind: "RunnerList"},
			ListMeta: metav1.ListMeta{ResourceVersion: runner.ResourceVersion},
			Items:    []v1alpha1.Runner{runner},
		})
		return
	}
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		end := v1alpha1.Runner{TypeMeta: runner.TypeMeta}
		end.ResourceVersion = runner.ResourceVersion
		end.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
		_ = encoder.Encode(metav1.WatchEvent{Type: "ADDED", Object: runtime.RawExtension{Object: &runner}})
		_ = encoder.Encode(metav1.WatchEvent{Type: "BOOKMARK", Object: runtime.RawExtension{Object: &end}})
	}
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// patchStatus takes the status over from a JSON patch.
func (s *apiServer) patchStatus(w http.ResponseWriter, r *http.Request) {
	var operations []struct {
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.NewDecoder(r.Body).Decode(&operations); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, operation := range operations {
		if operation.Path != "/status" {
			continue
		}
		s.runner.Status = v1alpha1.RunnerStatus{}
		if err := json.Unmarshal(operation.Value, &s.runner.Status); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	version, _ := strconv.Atoi(s.runner.ResourceVersion)
	s.runner.ResourceVersion = strconv.Itoa(version + 1)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.runner)
}
