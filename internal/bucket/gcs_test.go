// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/atelier-dev/atelier/test/front"
	"github.com/atelier-dev/atelier/test/gcsserver"
)

// privateKey is one of a service account, made once for all tests.
var privateKey = sync.OnceValues(func() (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
})

// googleKey is the JSON key of a service account that gets its tokens from a server of the
// test.
func googleKey(t *testing.T, tokens http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(tokens)
	t.Cleanup(server.Close)
	key, err := privateKey()
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "atelier@example.com",
		"private_key_id": "1", "private_key": key, "token_uri": server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func goodTokens(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"access_token": "atelier-token", "token_type": "Bearer", "expires_in": 3600}`)
}

func badTokens(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = io.WriteString(w, `{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}`)
}

func TestGoogleTokenIsSent(t *testing.T) {
	s := backends["gs"](t, "pictures")
	sent := make(chan string, 1)
	s.SetFault(func(_ http.ResponseWriter, r *http.Request, _ int64) bool {
		sent <- r.Header.Get("Authorization")
		return false
	})
	if _, err := open(t, s.reach(t, "pictures")).Put(t.Context(), "0.png", "image/png", picture[:100], Retry{}); err != nil {
		t.Fatal(err)
	}
	if authorization := <-sent; authorization != "Bearer atelier-token" {
		t.Errorf("authorization is %q", authorization)
	}
}

// TestFaultsOfGCSStay says what a user is told, and that nobody is asked again in vain.
func TestFaultsOfGCSStay(t *testing.T) {
	s := gcsserver.Start(t, "pictures")
	answers := func(status int, body string) front.Fault {
		return func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	for name, test := range map[string]struct {
		tokens http.HandlerFunc
		fault  front.Fault
		code   string
		puts   int64
	}{
		"no such bucket":  {fault: answers(404, `{"error": {"code": 404, "message": "The specified bucket does not exist.", "errors": [{"reason": "notFound"}]}}`), code: CodeNoSuchBucket, puts: 1},
		"may not write":   {fault: answers(403, `{"error": {"code": 403, "message": "Access denied.", "errors": [{"reason": "forbidden"}]}}`), code: CodeAccessDenied, puts: 1},
		"token refused":   {fault: answers(401, `{"error": {"code": 401, "message": "Invalid Credentials", "errors": [{"reason": "authError"}]}}`), code: CodeAuthenticationFailed, puts: 1},
		"key was deleted": {tokens: badTokens, code: CodeAuthenticationFailed},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := test.tokens
			if tokens == nil {
				tokens = goodTokens
			}
			s.SetFault(test.fault)
			before := s.Puts()
			config := Config{URL: "gs://pictures", Endpoint: s.URL, CredentialsDir: mounted(t, map[string]string{KeyGoogleCredentials: googleKey(t, tokens)})}
			_, err := open(t, config).Put(t.Context(), "a/0.png", "image/png", picture[:100], patient())
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code != test.code || e.Temporary {
				t.Fatalf("error is %v; want %s", err, test.code)
			}
			for _, text := range []string{"gs://pictures/a/0.png", s.URL, test.code, explanation(writing, test.code)} {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
			if n := s.Puts() - before; n != test.puts {
				t.Errorf("%d requests, want %d", n, test.puts)
			}
		})
	}
}

// TestGoogleKeyIsLookedAt before anything is drawn, and no part of it is shown.
func TestGoogleKeyIsLookedAt(t *testing.T) {
	for name, key := range map[string]string{
		"missing":      "",
		"no JSON":      "secret-part",
		"another type": `{"type": "authorized_user", "client_secret": "secret-part"}`,
		"not whole":    `{"type": "service_account", "private_key": "secret-part"}`,
	} {
		t.Run(name, func(t *testing.T) {
			b, err := Open(t.Context(), Config{URL: "gs://pictures", CredentialsDir: mounted(t, map[string]string{KeyGoogleCredentials: key})})
			if err == nil {
				_, err = b.Put(t.Context(), "0.png", "image/png", nil, Retry{})
				_ = b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), KeyGoogleCredentials) || strings.Contains(err.Error(), "secret-part") {
				t.Errorf("error is %v; want one that names the key and shows nothing of it", err)
			}
		})
	}
}
