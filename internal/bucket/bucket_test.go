// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atelier-dev/atelier/test/s3server"
)

// secret makes the directory that a Secret is mounted at.
func secret(t *testing.T, data map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for key, value := range data {
		if err := os.WriteFile(filepath.Join(dir, key), []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func goodSecret() map[string]string {
	return map[string]string{KeyAccessKeyID: s3server.AccessKeyID, KeySecretAccessKey: s3server.SecretAccessKey}
}

func open(t *testing.T, config Config) *Bucket {
	t.Helper()
	b, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// reach configures a bucket of the server.
func reach(t *testing.T, s *s3server.Server, url string) Config {
	return Config{URL: url, Endpoint: s.URL, PathStyle: true, CredentialsDir: secret(t, goodSecret())}
}

// patient tries for longer than any test lasts.
func patient() Retry { return Retry{First: time.Millisecond, Until: time.Now().Add(time.Hour)} }

// picture is larger than the part in which the library would send an upload.
var picture = bytes.Repeat([]byte("picture "), 1<<20)

func TestPut(t *testing.T) {
	s := s3server.Start(t, "pictures")
	b := open(t, reach(t, s, "s3://pictures/team-a"))
	sum := sha256.Sum256(picture)
	want := Object{URL: "s3://pictures/team-a/studio/apple/0.png", SHA256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(picture))}
	for range 2 { // A second attempt finds or leaves the same.
		got, err := b.Put(t.Context(), "studio/apple/0.png", "image/png", picture, patient())
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if data, err := s.Object("pictures", "team-a/studio/apple/0.png"); err != nil || !bytes.Equal(data, picture) {
		t.Errorf("the object has %d bytes (%v), want the %d of the picture", len(data), err, len(picture))
	}
	if keys, err := s.Keys("pictures"); err != nil || !slices.Equal(keys, []string{"team-a/studio/apple/0.png"}) {
		t.Errorf("the bucket has %v (%v)", keys, err)
	}
	if n := s.Puts(); n != 2 {
		t.Errorf("%d requests, want one for each time", n)
	}
}

// TestFaultsPass lets things go wrong that mend themselves.
func TestFaultsPass(t *testing.T) {
	for name, fault := range map[string]s3server.Fault{
		"error of the server": func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		},
		"cut in the middle of the upload": func(_ http.ResponseWriter, r *http.Request, _ int64) bool {
			_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := s3server.Start(t, "pictures")
			s.SetFault(func(w http.ResponseWriter, r *http.Request, n int64) bool {
				if keys, err := s.Keys("pictures"); err != nil || len(keys) > 0 {
					t.Errorf("before it is written the bucket has %v (%v)", keys, err)
				}
				return n < 3 && fault(w, r, n)
			})
			b := open(t, reach(t, s, "s3://pictures"))
			retry, failures := patient(), 0
			retry.Failed = func() { failures++ }
			if _, err := b.Put(t.Context(), "0.png", "image/png", picture, retry); err != nil {
				t.Fatal(err)
			}
			if failures != 2 {
				t.Errorf("told of %d failures, want 2", failures)
			}
			if data, err := s.Object("pictures", "0.png"); err != nil || !bytes.Equal(data, picture) {
				t.Errorf("the object has %d bytes (%v)", len(data), err)
			}
			if n := s.Puts(); n != 3 {
				t.Errorf("%d requests, want 3", n)
			}
		})
	}
}

// TestFaultsStay says what a user is told, and that nobody is asked again in vain.
func TestFaultsStay(t *testing.T) {
	s := s3server.Start(t, "pictures")
	expired := s3server.Fault(func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>`)
		return true
	})
	for name, test := range map[string]struct {
		bucket string
		secret map[string]string
		fault  s3server.Fault
		code   string
	}{
		"no such bucket":      {bucket: "elsewhere", code: "NoSuchBucket"},
		"wrong secret key":    {bucket: "pictures", secret: map[string]string{KeyAccessKeyID: s3server.AccessKeyID, KeySecretAccessKey: "wrong"}, code: "SignatureDoesNotMatch"},
		"expired credentials": {bucket: "pictures", fault: expired, code: "ExpiredToken"},
	} {
		t.Run(name, func(t *testing.T) {
			config := reach(t, s, "s3://"+test.bucket)
			if test.secret != nil {
				config.CredentialsDir = secret(t, test.secret)
			}
			s.SetFault(test.fault)
			before := s.Puts()
			_, err := open(t, config).Put(t.Context(), "a/0.png", "image/png", picture[:100], patient())
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code != test.code || e.Temporary {
				t.Fatalf("error is %v; want %s", err, test.code)
			}
			for _, text := range []string{"s3://" + test.bucket + "/a/0.png", s.URL, test.code, explanations[test.code]} {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
			if strings.Contains(err.Error(), "Signature=") {
				t.Errorf("%q has a signature", err)
			}
			if n := s.Puts() - before; n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

// TestNobodyAnswers is a store that is down for longer than it is waited for.
func TestNobodyAnswers(t *testing.T) {
	config := Config{URL: "s3://pictures", Endpoint: "http://127.0.0.1:1", PathStyle: true,
		CredentialsDir: secret(t, goodSecret())}
	retry := Retry{First: time.Millisecond, Until: time.Now().Add(20 * time.Millisecond)}
	_, err := open(t, config).Put(t.Context(), "0.png", "image/png", nil, retry)
	if !isTemporary(err) || !strings.Contains(err.Error(), "http://127.0.0.1:1 gave no answer") {
		t.Errorf("error is %v", err)
	}
}

// TestMissingKeyOfSecret is told before anything is drawn.
func TestMissingKeyOfSecret(t *testing.T) {
	dir := secret(t, goodSecret())
	config := Config{URL: "s3://pictures", CredentialsDir: dir}
	if err := os.Remove(filepath.Join(dir, KeySecretAccessKey)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), config); err == nil || !strings.Contains(err.Error(), KeySecretAccessKey) {
		t.Errorf("error is %v; want one that names the key", err)
	}
}

func TestURLs(t *testing.T) {
	for _, address := range []string{"", "pictures", "gs://pictures", "s3://", "s3:///key", "s3://user:password@pictures", "s3://pictures?endpoint=x", "http://pictures"} {
		if b, err := Open(t.Context(), Config{URL: address}); err == nil {
			t.Errorf("%q was opened as %+v", address, b)
		}
	}
}
