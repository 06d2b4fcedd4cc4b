// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/gcp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

// KeyGoogleCredentials is the key of a Secret whose value is what the file is that the
// variable of this name leads Google's own tools to: the JSON key of a service account, or
// the configuration of a workload identity federation.
const KeyGoogleCredentials = "GOOGLE_APPLICATION_CREDENTIALS"

// googleScope is what access is asked for.
const googleScope = storage.ScopeReadWrite

// googleTypes are the types of credentials that a Secret may hold.
var googleTypes = []google.CredentialsType{google.ServiceAccount, google.ExternalAccount}

var gcsKind = kind{
	keys:   []string{KeyGoogleCredentials},
	open:   openGCS,
	put:    upload,
	answer: answerOfGCS,
}

// openGCS makes ready to use a bucket of Google Cloud Storage.
func openGCS(ctx context.Context, c Config, name string, s secret) (*blob.Bucket, error) {
	transport := newClient()
	// Tokens are asked for with the same patience.
	ctx = context.WithValue(ctx, oauth2.HTTPClient, transport)
	client := gcp.NewAnonymousHTTPClient(transport.Transport)
	if !c.Anonymous {
		credentials, err := s.forGoogle(ctx)
		if err != nil {
			return nil, err
		}
		if client, err = gcp.NewHTTPClient(transport.Transport, credentials.TokenSource); err != nil {
			return nil, err
		}
	}
	options := []option.ClientOption{storage.WithJSONReads()}
	if c.Endpoint != "" {
		options = append(options, option.WithEndpoint(strings.TrimSuffix(c.Endpoint, "/")+"/storage/v1/"))
	}
	bucket, err := gcsblob.OpenBucket(ctx, client, name, &gcsblob.Options{ClientOptions: options})
	if err != nil {
		return nil, err
	}
	var library *storage.Client
	if bucket.As(&library) {
		// One retry loop is enough, and ours knows when to end.
		library.SetRetry(storage.WithPolicy(storage.RetryNever))
	}
	return bucket, nil
}

// forGoogle gives the credentials as Google's library takes them.
func (s secret) forGoogle(ctx context.Context) (*google.Credentials, error) {
	if s == nil {
		return google.FindDefaultCredentials(ctx, googleScope)
	}
	if err := s.need(KeyGoogleCredentials); err != nil {
		return nil, err
	}
	data := []byte(s[KeyGoogleCredentials])
	var is struct {
		Type       google.CredentialsType `json:"type"`
		PrivateKey string                 `json:"private_key"`
	}
	// What is wrong with it is not said, as it would be a part of a key.
	if json.Unmarshal(data, &is) != nil || !slices.Contains(googleTypes, is.Type) {
		return nil, fmt.Errorf("the key %s of the Secret with the store's credentials must be a JSON object whose type is one of %q", KeyGoogleCredentials, googleTypes)
	}
	// The library looks at a key when it first needs a token.
	block, _ := pem.Decode([]byte(is.PrivateKey))
	credentials, err := google.CredentialsFromJSONWithType(ctx, data, is.Type, googleScope)
	if err != nil || is.Type == google.ServiceAccount && block == nil {
		return nil, fmt.Errorf("the key %s of the Secret with the store's credentials is no whole key of type %q", KeyGoogleCredentials, is.Type)
	}
	return credentials, nil
}

// answerOfGCS gives what the store answered, or the server that gives tokens for it. The
// store's own words are those of its statuses.
func answerOfGCS(err error) (status int, code string) {
	if token, ok := errors.AsType[*oauth2.RetrieveError](err); ok && token.Response != nil {
		if status = token.Response.StatusCode; status < 500 {
			code = CodeAuthenticationFailed
		}
		return status, code
	}
	answer, ok := errors.AsType[*googleapi.Error](err)
	if !ok {
		return 0, ""
	}
	switch answer.Code {
	case http.StatusUnauthorized:
		code = CodeAuthenticationFailed
	case http.StatusForbidden:
		code = CodeAccessDenied
	case http.StatusNotFound:
		code = CodeNoSuchKey
		if strings.Contains(answer.Message, "bucket does not exist") {
			code = CodeNoSuchBucket
		}
	}
	return answer.Code, code
}
