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
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atelier-dev/atelier/test/azureserver"
	"github.com/atelier-dev/atelier/test/front"
	"github.com/atelier-dev/atelier/test/gcsserver"
	"github.com/atelier-dev/atelier/test/s3server"
)

// server is one that a test starts: what package bucket is to know of it, and what the test
// wants to see past it.
type server interface {
	SetFault(front.Fault)
	SetReadFault(front.Fault)
	Puts() int64
	Gets() int64
	Object(bucket, key string) ([]byte, error)
	Keys(bucket string) ([]string, error)
}

// backend is a server and how it is reached.
type backend struct {
	server
	scheme   string
	endpoint string
	secret   map[string]string
}

// backends start a server of each kind, with buckets.
var backends = map[string]func(t *testing.T, buckets ...string) backend{
	"s3": func(t *testing.T, buckets ...string) backend {
		s := s3server.Start(t, buckets...)
		return backend{server: s, scheme: "s3", endpoint: s.URL, secret: goodSecret()}
	},
	"gs": func(t *testing.T, buckets ...string) backend {
		s := gcsserver.Start(t, buckets...)
		return backend{server: s, scheme: "gs", endpoint: s.URL, secret: map[string]string{KeyGoogleCredentials: googleKey(t, goodTokens)}}
	},
	"azblob": func(t *testing.T, buckets ...string) backend {
		s := azureserver.Start(t, buckets...)
		return backend{server: s, scheme: "azblob", endpoint: s.Endpoint(), secret: map[string]string{KeyAzureAccount: azureserver.Account, KeyAzureKey: azureserver.Key}}
	},
}

// onEach runs a test with each kind of server.
func onEach(t *testing.T, test func(t *testing.T, start func(buckets ...string) backend)) {
	for name, start := range backends {
		t.Run(name, func(t *testing.T) {
			test(t, func(buckets ...string) backend { t.Helper(); return start(t, buckets...) })
		})
	}
}

// reach configures a bucket of the server.
func (b backend) reach(t *testing.T, bucket string) Config {
	t.Helper()
	return Config{URL: b.scheme + "://" + bucket, Endpoint: b.endpoint, PathStyle: b.scheme == "s3", CredentialsDir: mounted(t, b.secret)}
}

// mounted makes the directory that a Secret is mounted at.
func mounted(t *testing.T, data map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for key, value := range data {
		mount(t, dir, key, value)
	}
	return dir
}

// mount writes a key of a Secret as the kubelet does.
func mount(t *testing.T, dir, key, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, key), []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
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

// patient tries for longer than any test lasts.
func patient() Retry { return Retry{First: time.Millisecond, Until: time.Now().Add(time.Hour)} }

// picture is larger than the part in which the library would send an upload.
var picture = bytes.Repeat([]byte("picture "), 1<<20)

func TestPut(t *testing.T) {
	onEach(t, func(t *testing.T, start func(...string) backend) {
		s := start("pictures")
		b := open(t, s.reach(t, "pictures/team-a"))
		sum := sha256.Sum256(picture)
		want := Object{URL: s.scheme + "://pictures/team-a/studio/apple/0.png", SHA256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(picture))}
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
	})
}

func TestRead(t *testing.T) {
	onEach(t, func(t *testing.T, start func(...string) backend) {
		s := start("models")
		b := open(t, s.reach(t, "models/sd15"))
		if _, err := b.Put(t.Context(), "unet/model.onnx", "application/octet-stream", picture, patient()); err != nil {
			t.Fatal(err)
		}
		if size, err := b.Size(t.Context(), "unet/model.onnx"); err != nil || size != int64(len(picture)) {
			t.Errorf("the size is %d (%v), want %d", size, err, len(picture))
		}
		for _, offset := range []int64{0, 1 << 20} {
			body, err := b.Read(t.Context(), "unet/model.onnx", offset)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(body)
			if err := errors.Join(err, body.Close()); err != nil || !bytes.Equal(data, picture[offset:]) {
				t.Errorf("from %d on it has %d bytes (%v), want %d", offset, len(data), err, len(picture)-int(offset))
			}
		}
		_, sizeErr := b.Size(t.Context(), "unet/lost")
		_, readErr := b.Read(t.Context(), "unet/lost", 0)
		for _, err := range []error{sizeErr, readErr} {
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code != CodeNoSuchKey || e.Temporary || !strings.Contains(err.Error(), s.scheme+"://models/sd15/unet/lost") {
				t.Errorf("error is %v; want %s with the object's URL", err, CodeNoSuchKey)
			}
		}
	})
}

// TestFaultsPass lets things go wrong that mend themselves.
func TestFaultsPass(t *testing.T) {
	for name, fault := range map[string]front.Fault{
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
			onEach(t, func(t *testing.T, start func(...string) backend) {
				s := start("pictures")
				s.SetFault(func(w http.ResponseWriter, r *http.Request, n int64) bool {
					if keys, err := s.Keys("pictures"); err != nil || len(keys) > 0 {
						t.Errorf("before it is written the bucket has %v (%v)", keys, err)
					}
					return n < 3 && fault(w, r, n)
				})
				b := open(t, s.reach(t, "pictures"))
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
		})
	}
}

// TestReadingFaults tells those that pass from those that stay.
func TestReadingFaults(t *testing.T) {
	for status, want := range map[int]struct {
		temporary bool
		code      string
	}{
		http.StatusServiceUnavailable: {temporary: true},
		http.StatusTooManyRequests:    {temporary: true},
		http.StatusForbidden:          {code: CodeAccessDenied},
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			onEach(t, func(t *testing.T, start func(...string) backend) {
				s := start("models")
				s.SetReadFault(func(w http.ResponseWriter, _ *http.Request, _ int64) bool {
					w.WriteHeader(status)
					return true
				})
				_, err := open(t, s.reach(t, "models")).Read(t.Context(), "a", 0)
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Temporary != want.temporary || want.code != "" && e.Code != want.code || !strings.Contains(err.Error(), s.endpoint) {
					t.Errorf("error is %v; want temporary %v, code %q and the endpoint", err, want.temporary, want.code)
				}
				if n := s.Gets(); n != 1 {
					t.Errorf("%d requests, want 1", n)
				}
			})
		})
	}
}

// TestFaultsOfS3Stay says what a user is told, and that nobody is asked again in vain.
func TestFaultsOfS3Stay(t *testing.T) {
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
			credentials := goodSecret()
			if test.secret != nil {
				credentials = test.secret
			}
			config := Config{URL: "s3://" + test.bucket, Endpoint: s.URL, PathStyle: true, CredentialsDir: mounted(t, credentials)}
			s.SetFault(test.fault)
			before := s.Puts()
			_, err := open(t, config).Put(t.Context(), "a/0.png", "image/png", picture[:100], patient())
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code != test.code || e.Temporary {
				t.Fatalf("error is %v; want %s", err, test.code)
			}
			for _, text := range []string{"s3://" + test.bucket + "/a/0.png", s.URL, test.code, explanation(writing, test.code)} {
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

// TestRenewedSecret is used without opening the bucket again.
func TestRenewedSecret(t *testing.T) {
	s := s3server.Start(t, "pictures")
	config := Config{URL: "s3://pictures", Endpoint: s.URL, PathStyle: true,
		CredentialsDir: mounted(t, map[string]string{KeyAccessKeyID: s3server.AccessKeyID, KeySecretAccessKey: "old"})}
	b := open(t, config)
	if _, err := b.Put(t.Context(), "0.png", "image/png", picture[:100], Retry{}); err == nil {
		t.Fatal("the old key was taken")
	}
	mount(t, config.CredentialsDir, KeySecretAccessKey, s3server.SecretAccessKey)
	if _, err := b.Put(t.Context(), "0.png", "image/png", picture[:100], Retry{}); err != nil {
		t.Error(err)
	}
}

// listen answers all requests with a status, and tells of them.
func listen(t *testing.T, status int) (endpoint string, got chan *http.Request) {
	t.Helper()
	got = make(chan *http.Request, 8)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

// TestAnonymous sends no credentials, though there are some.
func TestAnonymous(t *testing.T) {
	for scheme, credentials := range map[string]map[string]string{
		"s3":     goodSecret(),
		"gs":     {KeyGoogleCredentials: googleKey(t, goodTokens)},
		"azblob": {KeyAzureAccount: "atelier", KeyAzureSAS: "sv=1&sig=secret"},
	} {
		t.Run(scheme, func(t *testing.T) {
			endpoint, got := listen(t, http.StatusForbidden)
			config := Config{URL: scheme + "://models", Endpoint: endpoint, PathStyle: scheme == "s3", CredentialsDir: mounted(t, credentials), Anonymous: true}
			if _, err := open(t, config).Read(t.Context(), "a", 0); err == nil {
				t.Error("it was read")
			}
			if r := <-got; r.Header.Get("Authorization") != "" || r.URL.Query().Has("sig") {
				t.Errorf("credentials were sent: %s", r.URL)
			}
		})
	}
}

// TestNobodyAnswers is a store that is down for longer than it is waited for.
func TestNobodyAnswers(t *testing.T) {
	config := Config{URL: "s3://pictures", Endpoint: "http://127.0.0.1:1", PathStyle: true,
		CredentialsDir: mounted(t, goodSecret())}
	retry := Retry{First: time.Millisecond, Until: time.Now().Add(20 * time.Millisecond)}
	_, err := open(t, config).Put(t.Context(), "0.png", "image/png", nil, retry)
	if !IsTemporary(err) || !strings.Contains(err.Error(), "http://127.0.0.1:1 gave no answer") {
		t.Errorf("error is %v", err)
	}
}

// TestMissingKeyOfSecret is told before anything is drawn.
func TestMissingKeyOfSecret(t *testing.T) {
	dir := mounted(t, goodSecret())
	config := Config{URL: "s3://pictures", CredentialsDir: dir}
	if err := os.Remove(filepath.Join(dir, KeySecretAccessKey)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), config); err == nil || !strings.Contains(err.Error(), KeySecretAccessKey) {
		t.Errorf("error is %v; want one that names the key", err)
	}
}

func TestURLs(t *testing.T) {
	for _, address := range []string{"", "pictures", "file:///pictures", "s3://", "s3:///key", "s3://user:password@pictures", "s3://pictures?endpoint=x", "http://pictures"} {
		if b, err := Open(t.Context(), Config{URL: address}); err == nil {
			t.Errorf("%q was opened as %+v", address, b)
		}
	}
}
