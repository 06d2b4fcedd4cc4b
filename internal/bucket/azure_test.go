// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/atelier-dev/atelier/test/azureserver"
)

// TestFaultsOfAzureStay says what a user is told, by answers as Microsoft documents them.
func TestFaultsOfAzureStay(t *testing.T) {
	for name, test := range map[string]struct {
		status    int
		word      string
		code      string
		temporary bool
	}{
		"no such container":   {status: 404, word: "ContainerNotFound", code: CodeNoSuchBucket},
		"may not write":       {status: 403, word: "AuthorizationFailure", code: CodeAccessDenied},
		"role may not write":  {status: 403, word: "AuthorizationPermissionMismatch", code: CodeAccessDenied},
		"wrong key":           {status: 403, word: "AuthenticationFailed", code: CodeAuthenticationFailed},
		"account is disabled": {status: 403, word: "AccountIsDisabled", code: "AccountIsDisabled"},
		"busy":                {status: 503, word: "ServerBusy", code: "ServerBusy", temporary: true},
	} {
		t.Run(name, func(t *testing.T) {
			var puts atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				puts.Add(1)
				w.Header().Set("x-ms-error-code", test.word)
				w.WriteHeader(test.status)
			}))
			t.Cleanup(server.Close)
			config := Config{URL: "azblob://pictures/team-a", Endpoint: server.URL, CredentialsDir: mounted(t, map[string]string{KeyAzureSAS: "?sv=1&sig=secret"})}
			_, err := open(t, config).Put(t.Context(), "a/0.png", "image/png", picture, Retry{})
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code != test.code || e.Temporary != test.temporary {
				t.Fatalf("error is %v; want %s", err, test.code)
			}
			for _, text := range []string{"azblob://pictures/team-a/a/0.png", server.URL, test.code, explanation(writing, test.code)} {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%q has a signature", err)
			}
			if n := puts.Load(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

// TestAzureRequests says what is sent where: one request with the whole object, the account
// from the Secret, and the signature as it is.
func TestAzureRequests(t *testing.T) {
	for name, test := range map[string]struct {
		secret map[string]string
		is     func(r *http.Request) bool
	}{
		"key": {map[string]string{KeyAzureAccount: azureserver.Account, KeyAzureKey: azureserver.Key},
			func(r *http.Request) bool {
				return strings.HasPrefix(r.Header.Get("Authorization"), "SharedKey "+azureserver.Account+":")
			}},
		"signature": {map[string]string{KeyAzureSAS: "sv=1&sig=a%2Bb"},
			func(r *http.Request) bool { return r.URL.Query().Get("sig") == "a+b" }},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint, got := listen(t, http.StatusCreated)
			config := Config{URL: "azblob://pictures/team-a", Endpoint: endpoint + "/", CredentialsDir: mounted(t, test.secret)}
			if _, err := open(t, config).Put(t.Context(), "a/0.png", "image/png", picture, Retry{}); err != nil {
				t.Fatal(err)
			}
			if n := len(got); n != 1 {
				t.Fatalf("%d requests, want 1", n)
			}
			if r := <-got; r.Method != http.MethodPut || r.URL.Path != "/pictures/team-a/a/0.png" || r.ContentLength != int64(len(picture)) || !test.is(r) {
				t.Errorf("the request is %s %s of %d bytes", r.Method, r.URL.Path, r.ContentLength)
			}
		})
	}
}

// TestAzureSignature is good for what it was made for.
func TestAzureSignature(t *testing.T) {
	s := azureserver.Start(t, "pictures")
	config := Config{URL: "azblob://pictures", Endpoint: s.Endpoint(), CredentialsDir: mounted(t, map[string]string{KeyAzureSAS: s.SAS(t, "pictures")})}
	b := open(t, config)
	if _, err := b.Put(t.Context(), "0.png", "image/png", picture, Retry{}); err != nil {
		t.Fatal(err)
	}
	_, err := b.Read(t.Context(), "0.png", 0)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeAccessDenied {
		t.Errorf("error is %v; want %s", err, CodeAccessDenied)
	}
}

// TestAzureSecretIsLookedAt before anything is drawn.
func TestAzureSecretIsLookedAt(t *testing.T) {
	for text, secret := range map[string]map[string]string{
		"account is not known":             {KeyAzureSAS: "sv=1"},
		KeyAzureKey + " or " + KeyAzureSAS: {KeyAzureAccount: "atelier"},
		"must be a storage account's key":  {KeyAzureAccount: "atelier", KeyAzureKey: "no base64"},
	} {
		if _, err := Open(t.Context(), Config{URL: "azblob://pictures", CredentialsDir: mounted(t, secret)}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error is %v; want %q", err, text)
		}
	}
}
