// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package incluster

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// serviceAccount writes a service account directory for server and points the
// environment at both.
func serviceAccount(t *testing.T, server *httptest.Server, token string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, data := range map[string][]byte{tokenFile: []byte(token), rootCAFile: ca, namespaceFile: []byte("studio\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	t.Setenv(hostEnv, host)
	t.Setenv(portEnv, port)
	t.Setenv(DirectoryEnv, dir)
	return dir
}

func TestConfigReachesTheServerAsTheServiceAccount(t *testing.T) {
	var got string
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
	}))
	defer server.Close()
	dir := serviceAccount(t, server, "first\n")

	config, err := Config()
	if err != nil {
		t.Fatal(err)
	}
	if config.QPS >= 0 {
		t.Errorf("QPS = %v, want no limit of the client's own", config.QPS)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Get(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if got != "Bearer first" {
		t.Errorf("Authorization = %q, want %q", got, "Bearer first")
	}
	if want := filepath.Join(dir, tokenFile); config.BearerTokenFile != want {
		t.Errorf("BearerTokenFile = %q, want %q: the token would not be read again", config.BearerTokenFile, want)
	}
}

func TestNamespace(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	serviceAccount(t, server, "token")
	got, err := Namespace()
	if err != nil || got != "studio" {
		t.Errorf("Namespace() = %q, %v, want studio", got, err)
	}
}

func TestErrorsSayWhatIsMissing(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	for name, test := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"no host":  {func(t *testing.T, _ string) { t.Setenv(hostEnv, "") }, hostEnv},
		"no port":  {func(t *testing.T, _ string) { t.Setenv(portEnv, "") }, portEnv},
		"no token": {func(t *testing.T, dir string) { remove(t, dir, tokenFile) }, tokenFile},
		"no ca":    {func(t *testing.T, dir string) { remove(t, dir, rootCAFile) }, rootCAFile},
	} {
		t.Run(name, func(t *testing.T) {
			test.spoil(t, serviceAccount(t, server, "token"))
			_, err := Config()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Config() error = %v, want one that names %s", err, test.want)
			}
			if outside := strings.HasPrefix(test.want, "KUBERNETES"); outside != errors.Is(err, ErrNotInCluster) {
				t.Errorf("errors.Is(%v, ErrNotInCluster) = %v, want %v", err, !outside, outside)
			}
		})
	}
}

func TestDirectoryDefaultsToTheKubeletsMount(t *testing.T) {
	t.Setenv(DirectoryEnv, "")
	if got := Directory(); got != DefaultDirectory {
		t.Errorf("Directory() = %q, want %q", got, DefaultDirectory)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}
